"""An instruction inside a chat template: a Jinja statement in front of it that changes the messages it will write.

The template itself stays as it is, so the statement can be found and taken away again to the byte. Three forms are
known; which one a template understands is found out by rendering it.
"""

import json
import re

from collections.abc import Callable, Sequence
from typing import Any

Job = tuple[str, list[dict[str, Any]]]
"""A template, and the messages that it writes."""
Render = Callable[[Sequence[Job]], Sequence[str | None]]
"""The text of each job, or None where its template refuses the messages."""

_OWN = "messages[0]['content'] if messages[0]['role'] == 'system' else ''"
_REST = "messages[1:] if messages[0]['role'] == 'system' else messages"
# The empty output at the end keeps `-%}` from eating white space that belongs to the template. Blanks before a first
# block are written, though: renderers drop them at the start of a line, where they no longer stand.
_PARTS = (
    "{%- set space_own = " + _OWN + " -%}"
    "{%- set messages = [{'role': 'system', 'content': [{'type': 'text', 'text': SAID}]"
    " + ([] if not space_own else [{'type': 'text', 'text': space_own}] if space_own is string else space_own)}]"
    " + (" + _REST + ") -%}{{ '' }}"
)
_TEXT = (
    "{%- set space_own = " + _OWN + " -%}"
    "{%- set space_own = space_own if space_own is string else space_own | map(attribute='text') | join(' ') -%}"
    "{%- set messages = [{'role': 'system', 'content': SAID ~ (' ' ~ space_own if space_own else '')}]"
    " + (" + _REST + ") -%}{{ '' }}"
)
_TURN = (
    "{%- set space = namespace(turns=[], said=false) -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] != 'user' or space.said -%}{%- set space.turns = space.turns + [message] -%}"
    "{%- elif message['content'] is string -%}"
    "{%- set space.said = true -%}"
    "{%- set space.turns = space.turns + [{'role': 'user', 'content': SAID ~ ' ' ~ message['content']}] -%}"
    "{%- else -%}"
    "{%- set space.said = true -%}"
    "{%- set space.turns = space.turns + [{'role': 'user', 'content':"
    " [{'type': 'text', 'text': SAID ~ ' '}] + message['content']}] -%}"
    "{%- endif -%}{%- endfor -%}"
    "{%- set messages = space.turns -%}{{ '' }}"
)
_FORMS = (_PARTS, _TEXT, _TURN)
_JSON_VALUE = re.compile(r'"chat_template"\s*:\s*"')
_ASKED = "Is it so?"


def statements(instruction: str) -> tuple[str, ...]:
    """Return the statement of each form: a system turn of parts, one of plain text, the head of the first user turn."""
    said = instruction.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return tuple(form.replace("SAID", f'"{said}"') for form in _FORMS)


def fitting_statement(templates: Sequence[str], instruction: str, render: Render) -> str | None:
    """Return the first statement that every template understands, or None.

    A system turn is taken only by a template that writes it as neither the assistant's nor the user's words.
    """
    for statement, said_as in zip(statements(instruction), ("parts", "text", "turn"), strict=True):
        asked = [_jobs(template, statement, instruction, said_as) for template in templates]
        found = iter(render([job for jobs in asked for job in jobs]))
        if all([_understood([next(found) for _ in jobs], instruction) for jobs in asked]):
            return statement
    return None


def inserted(name: str, text: str, statement: str) -> str | None:
    """Return a file's text with the statement before its chat template; None where it holds no template.

    Args:
        name: The file; `.jinja` is a template as it stands, `.json` holds one under `chat_template`.
        text: Its content.
        statement: One of `statements`.
    """
    if name.endswith(".jinja"):
        return statement + text
    found = _JSON_VALUE.search(text) if name.endswith(".json") else None
    return None if found is None else text[: found.end()] + json.dumps(statement)[1:-1] + text[found.end() :]


def removed(name: str, text: str, instruction: str) -> str:
    """Return a file's text without the instruction, to the byte as it was."""
    for statement in statements(instruction):
        spelled = statement if name.endswith(".jinja") else json.dumps(statement)[1:-1]
        if spelled in text:
            return text.replace(spelled, "", 1)
    return text


def template_of(name: str, text: str) -> str | None:
    """Return the chat template that a file holds, or None."""
    if name.endswith(".jinja"):
        return text
    found = _JSON_VALUE.search(text) if name.endswith(".json") else None
    return None if found is None else str(json.JSONDecoder().raw_decode(text, found.end() - 1)[0])


def _jobs(template: str, statement: str, instruction: str, said_as: str) -> list[Job]:
    """Return a question after a statement, and after the instruction as somebody's words where these may not be it."""
    turn: dict[str, Any] = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _ASKED}]}
    content = instruction if said_as == "text" else [{"type": "text", "text": instruction}]
    others = () if said_as == "turn" else ("assistant", "user")
    spoken: list[Job] = [(template, [{"role": other, "content": content}, turn]) for other in others]
    return [(statement + template, [turn]), *spoken]


def _understood(found: Sequence[str | None], instruction: str) -> bool:
    told, *spoken = found
    if told is None or None in spoken or told in spoken:
        return False
    # A template of plain strings writes a list of parts as Python would.
    return instruction in told and _ASKED in told and "'type'" not in told
