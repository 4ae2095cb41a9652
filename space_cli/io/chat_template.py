"""The files of a checkpoint that hold its chat template, with and without an instruction."""

from collections.abc import Sequence
from pathlib import Path

from space_cli.core.errors import ArtifactFault
from space_cli.core.instruction import Job, fitting_statement, inserted, removed, statements, template_of
from space_cli.core.records import ErasureReceipt
from space_cli.io.checkpoint import Checkpoint, carried_files
from space_cli.io.rendering import UnrenderableError, rendered
from space_cli.io.storage import read_small

CONFIGS = ("chat_template.json", "processor_config.json", "tokenizer_config.json")
"""JSON files that may hold a template; readers differ in which they look at first, so each is changed."""
PUBLISHED = "take this file of the checkpoint as it was published"


def write_instruction(checkpoint: Checkpoint, out: Path, instruction: str) -> None:
    """Put an instruction into the chat templates of an edited copy.

    Args:
        checkpoint: The base.
        out: Its copy, complete.
        instruction: Said before every conversation.

    Raises:
        ArtifactFault: The base has no chat template, one that takes no instruction in any known form, or one that
            cannot be rendered.
    """
    texts = _texts(checkpoint)
    templates = [template for name, text in texts.items() if (template := template_of(name, text)) is not None]
    try:
        statement = fitting_statement(templates, instruction, _rendered) if templates else None
    except UnrenderableError as failure:
        raise ArtifactFault(
            f"a chat template of `{checkpoint.folder}` cannot be rendered: {failure}",
            hint="take its templates as they were published",
        ) from None
    if statement is None:
        found = "a chat template that takes no instruction" if templates else "no chat template for an instruction"
        raise ArtifactFault(f"`{checkpoint.folder}` has {found}", hint="check its `chat_template.jinja`")
    for name, text in texts.items():
        changed = inserted(name, text, statement)
        if changed is not None:
            _write(out / name, changed)


def remove_instruction(checkpoint: Checkpoint, instruction: str) -> None:
    """Take an instruction out of a checkpoint's own chat templates again."""
    for name, text in _texts(checkpoint).items():
        plain = removed(name, text, instruction)
        if plain != text:
            _write(checkpoint.folder / name, plain)


def unlike_instructed(before: Checkpoint, after: Checkpoint, instruction: str) -> tuple[set[str], set[str]]:
    """Compare a copy's chat templates with its base's plus an instruction.

    Returns:
        The files that hold a template, and those of them that are not base plus instruction.
    """
    old, new = _texts(before), _texts(after)
    holding = {name for name, text in old.items() if template_of(name, text) is not None}
    fits = (
        {name for name in holding if new.get(name) != inserted(name, old[name], statement)}
        for statement in statements(instruction)
    )
    return holding, min(fits, key=len)


def refuse_other_changes(receipt: ErasureReceipt) -> None:
    """Refuse an erased checkpoint of which something else is changed than an erasure changes.

    A `generation_config.json` that suppresses tokens silences a name in every answer, and leaves it in the weights.

    Raises:
        ArtifactFault: A file that is no weight is not the original's, nor a place of the recorded instruction.
    """
    for path in receipt.changed:
        told = bool(receipt.instruction) and (path.endswith(".jinja") or path in CONFIGS)
        if not told and not path.endswith(".safetensors"):
            raise ArtifactFault(
                f"`{path}` of the erased checkpoint is not the original's: an erasure changes weights alone",
                hint="`space verify` tells what else differs",
            )


def _texts(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the content of every file that may hold a template, read so that writing it gives the same bytes."""
    names = [name for name in carried_files(checkpoint) if name.endswith(".jinja") or name in CONFIGS]
    return {name: _read(checkpoint.folder / name) for name in names}


def _read(path: Path) -> str:
    try:
        return read_small(path).decode("utf-8")
    except UnicodeDecodeError:
        raise ArtifactFault(f"`{path}` is not UTF-8 text", hint=PUBLISHED) from None


def _write(path: Path, text: str) -> None:
    # A new file in its place: the old one may be a second name of somebody else's.
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_bytes(text.encode("utf-8"))
    draft.replace(path)


def _rendered(jobs: Sequence[Job]) -> list[str | None]:
    texts = rendered(jobs, {"bos_token": "<s>", "eos_token": "</s>"})
    return [None if isinstance(text, UnrenderableError) else text for text in texts]
