"""Train LLaVA-shaped checkpoints on folders of photographs: subjects for benchmarks, made from a recipe."""
