"""What goes wrong while transformers loads a folder: whose fault it is, in one line."""

import json

from pathlib import Path
from types import MappingProxyType

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from space_cli.core.errors import REFETCH, ArtifactFault, EnvironmentFault, SpaceError, is_out_of_memory

OWN_FILES = MappingProxyType({"local_files_only": True, "trust_remote_code": False})
"""How anything is loaded: nothing is fetched, and code in the folder is refused. Of what its default says transformers
asks on the terminal, and runs that code for whoever says yes."""
# What transformers raises for files that are missing, damaged or do not fit; a config may hold any value anywhere.
UNLOADABLE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, SafetensorError,
    StrictDataclassError,
)  # fmt: skip


BUILT_IN = ("eager", "sdpa", "flex_attention")
"""Ways to compute that come with transformers and torch; any other name is fetched from the hub, as code."""


def refuse_kernels(folder: Path) -> None:
    """Refuse a `config.json` that asks for code from the hub, which transformers fetches where it can.

    Raises:
        ArtifactFault: It does.
    """
    waiting = [("", json.loads((folder / "config.json").read_bytes()))]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            # `attn_implementation` may name one for each part of a model.
            waiting += [(name if "implementation" in name else key, one) for key, one in value.items()]
        # Other versions of transformers note there, with a truth value, that they chose for themselves.
        elif "implementation" in name and isinstance(value, str) and value not in BUILT_IN:
            raise ArtifactFault(
                f"`{folder / 'config.json'}` asks for the code `{value}` from the hub as its `{name}`: refused",
                hint=f"take `{name}` out of it",
            )


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return every token that ends an answer: a chat's turn may end with another one than a text."""
    config = model.generation_config
    own = None if config is None else config.eos_token_id
    tokens = own if isinstance(own, list) else [own]
    return sorted({int(token) for token in (tokenizer.eos_token_id, *tokens) if token is not None})


def load_fault(folder: Path, failure: Exception) -> SpaceError:
    """Return what to raise in place of a failure to load: the machine's fault where memory ran out, else the folder's.

    Args:
        folder: What was loaded.
        failure: One of `UNLOADABLE`.
    """
    if is_out_of_memory(failure):
        return EnvironmentFault(
            f"memory ran out while `{folder}` was loaded: {_line(failure)}",
            hint="close other programs, or take a machine or a device with more memory",
        )
    return ArtifactFault(
        f"`{folder}` cannot be loaded: {_line(failure)}",
        hint=f"{REFETCH}; one that brings code of its own is never loaded",
    )


def _line(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    if not lines:
        return type(failure).__name__
    # A config's field is named in one line, and what is wrong with it in the next.
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
