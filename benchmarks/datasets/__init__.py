"""Readers of data sets in their official layouts: one file a set, found by its name."""

from benchmarks.datasets._photographs import DataSet, ShownConcept
from benchmarks.datasets._reading import names, open_dataset

__all__ = ["DataSet", "ShownConcept", "names", "open_dataset"]
