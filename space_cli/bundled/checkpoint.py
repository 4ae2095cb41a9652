"""Where the bundled checkpoint and its encoder lie, and whether they are the published bytes."""

from importlib import resources
from pathlib import Path

from space_cli.core.errors import ArtifactFault
from space_cli.io.artifact import digest_file


def weights_folder() -> Path:
    """Return the folder that holds `llava/`, `encoder/` and SHA256SUMS.

    Raises:
        ArtifactFault: The package was installed without its weights.
    """
    folder = Path(str(resources.files("space_cli.bundled"))) / "weights"
    if not (folder / "SHA256SUMS").is_file():
        raise ArtifactFault(f"`{folder}` holds no weights", hint="install space again, from its wheel or repository")
    return folder


def checkpoint_folder() -> Path:
    """Return the bundled LLaVA checkpoint."""
    return weights_folder() / "llava"


def encoder_folder() -> Path:
    """Return the bundled CLIP encoder, which shares the checkpoint's tower."""
    return weights_folder() / "encoder"


def altered_files() -> list[str]:
    """Return the weight files whose digest differs from SHA256SUMS; empty when all is well."""
    folder = weights_folder()
    altered = []
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split(maxsplit=1)
        path = folder / name
        if not path.is_file() or digest_file(path) != digest:
            altered.append(name)
    return altered
