"""A small real LLaVA checkpoint with its drawings, for the demo and the tests."""
