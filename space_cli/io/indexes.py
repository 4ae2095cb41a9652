"""FAISS indexes from elsewhere."""

from pathlib import Path
from types import ModuleType
from typing import Any


def read_index(faiss: ModuleType, path: Path) -> Any:  # ruff: ignore[any-type] - FAISS has no types
    """Read an index in which nothing says that it is larger than its file: FAISS takes that memory before it reads.

    Args:
        faiss: The library.
        path: The file.

    Raises:
        RuntimeError: It is no index, cut off, or says so.
    """
    kept = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
    size = max(path.stat().st_size, 1) if path.is_file() else 1
    faiss.set_deserialization_vector_byte_limit(size)
    faiss.set_deserialization_loop_limit(size)
    try:
        return faiss.read_index(str(path))
    finally:
        faiss.set_deserialization_vector_byte_limit(kept[0])
        faiss.set_deserialization_loop_limit(kept[1])
