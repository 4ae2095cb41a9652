"""Erase a visual concept from a multimodal LLM checkpoint without one image of it."""

__version__ = "0.1.0"
