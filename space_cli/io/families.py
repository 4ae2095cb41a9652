"""Which family a checkpoint is of, from its `config.json` alone."""

import json

from pathlib import Path

from space_cli.core import registry
from space_cli.core.errors import PASS_FOLDER, REFETCH, ArtifactFault
from space_cli.core.family import Family
from space_cli.io.storage import read_small


def family_of(folder: Path) -> Family:
    """Return the family of a checkpoint folder from its `config.json`.

    Raises:
        ArtifactFault: The config is unreadable or not that of its family, or no family file has its `model_type`.
    """
    try:
        config = json.loads(read_small(folder / "config.json").decode("utf-8"))
        model_type = str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise ArtifactFault(
            f"`{folder}` has no readable config.json with a `model_type`",
            hint=PASS_FOLDER,
        ) from None
    known = registry.names("families")
    if model_type.replace("_", "-") not in known:
        raise ArtifactFault(
            f"`{folder}` is of the family `{model_type}`: known are {', '.join(known)}",
            hint="space list families",
        )
    describe = registry.load("families", model_type).family
    try:
        found: Family = describe(config)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as failure:
        lacks = isinstance(failure, KeyError)
        told = f"lacks {failure}" if lacks else f"does not fit: {failure}"
        raise ArtifactFault(
            f"`{folder / 'config.json'}` describes no `{model_type}`: it {told}",
            hint="weights in the format of their authors' own code are converted to that of transformers first"
            if lacks
            else REFETCH,
        ) from failure
    return found
