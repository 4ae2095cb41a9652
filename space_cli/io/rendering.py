"""Chat templates, rendered where they can neither fill the memory nor run for ever (`io/template_child.py`)."""

import json
import secrets
import subprocess
import sys

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from space_cli.core.instruction import Job
from space_cli.io import template_child

PATIENCE = 300.0
"""Seconds for the whole child; a machine under load takes some for the imports alone."""


class UnrenderableError(Exception):
    """A template that cannot be rendered, with the reason as a text of one line."""


def rendered(jobs: Sequence[Job], tokens: Mapping[str, Any]) -> list[str | UnrenderableError]:
    """Render conversations, each up to where the answer begins.

    Args:
        jobs: Templates with their messages.
        tokens: What a tokenizer tells templates beside them, `bos_token` and so on.

    Returns:
        The text of each job, or what was wrong with it.

    Raises:
        UnrenderableError: One takes more time or memory than any template needs, or nothing can be rendered here.
    """
    child = [sys.executable, "-P", str(Path(template_child.__file__))]
    asked = json.dumps({"jobs": [list(job) for job in jobs], "tokens": dict(tokens)})
    try:
        done = subprocess.run(child, input=asked, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as failure:
        raise UnrenderableError(_why(failure)) from None
    return [one["text"] if "text" in one else UnrenderableError(" ".join(one["error"].split())) for one in found]


def _why(failure: Exception) -> str:
    """Return what ended the child: its bounds, unless it says something else."""
    told = str(getattr(failure, "stderr", None) or "").strip().splitlines()
    if isinstance(failure, subprocess.CalledProcessError) and failure.returncode > 0 and told:
        if not told[-1].startswith("MemoryError"):
            return told[-1]
    most = f"{template_child.SECONDS} seconds, {template_child.MEMORY >> 30} GiB or {template_child.LONGEST}"
    return f"it takes more than {most} characters"


@lru_cache(maxsize=16)
def frames(template: str, tokens: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return what a template writes before a question and after it, so that no question is rendered by itself.

    Args:
        template: Of a checkpoint.
        tokens: JSON of what its tokenizer tells it.

    Returns:
        Both parts for a question in words alone, and both for one about an image.

    Raises:
        UnrenderableError: The template cannot be rendered, or does not write the question as it is.
    """
    # One that no template knows, with what some would write in another way.
    question = f'Is "this" {secrets.token_hex(8)} & so?'
    said = {"type": "text", "text": question}
    contents = ([said], [{"type": "image"}, said])
    jobs = [(template, [{"role": "user", "content": content}]) for content in contents]
    words, image = (_split(text, question) for text in rendered(jobs, json.loads(tokens)))
    return words, image


def _split(text: str | UnrenderableError, question: str) -> tuple[str, str]:
    if isinstance(text, UnrenderableError):
        raise text
    if text.count(question) != 1:
        raise UnrenderableError("it does not write a question once and as it is")
    before, _, after = text.partition(question)
    return before, after
