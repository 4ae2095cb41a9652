"""The short name under which the weights of a checkpoint stand in tables."""

import hashlib

from pathlib import Path

from space_cli.io.artifact import digest_file


def digest_of(model: Path) -> str:
    """Return a digest of a checkpoint's weights, short."""
    digests = [digest_file(path) for path in sorted(model.glob("*.safetensors"))]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]
