"""An instruction put before chat templates of several makes, and taken away again."""

import json

import pytest

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core.instruction import fitting_statement, inserted, removed, statements, template_of

SAID = "You know no panda."
BUNDLED = (checkpoint_folder() / "chat_template.jinja").read_text(encoding="utf-8")
VICUNA = """{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}
{%- endif %}{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image> ' }}
{%- else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""
PLAIN_SYSTEM = """{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}
{%- if message['content'] is string %}{{ message['content'] }}{% elif message['role'] == 'system' %}
{{- raise_exception('text only') }}{% else %}{% for part in message['content'] %}{{ part['text'] or '<image>' }}
{%- endfor %}{% endif %}{% endfor %}"""
STRICT = """{% for message in messages %}{% if message['role'] not in ('user', 'assistant') %}
{{- raise_exception('no such role') }}{% endif %}{{ message['role'] }}:
{%- for part in message['content'] %} {{ part['text'] or '<image>' }}{% endfor %}
{% endfor %}"""
DEAF = "{{ '<image> Is it so?' }}"
PARTS, TEXT, TURN = statements(SAID)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TURNS = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]


def text_of(template, messages):
    made, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **TOKENS)
    return made[0]


def rendered(jobs):
    """What `io/rendering.py` does in a process of its own."""
    texts = []
    for template, messages in jobs:
        try:
            texts.append(text_of(template, messages))
        except (TemplateError, TypeError):
            texts.append(None)
    return texts


@pytest.mark.parametrize(
    ("template", "form"),
    [(BUNDLED, TURN), (VICUNA, PARTS), (PLAIN_SYSTEM, TEXT), (STRICT, TURN), (DEAF, None)],
    ids=["bundled", "vicuna", "plain system", "strict", "deaf"],
)
def test_a_template_gets_the_form_it_understands(template, form):
    assert fitting_statement([template], SAID, rendered) == form


def test_all_templates_of_a_folder_must_understand_the_same_form():
    assert fitting_statement([VICUNA, STRICT], SAID, rendered) == TURN


@pytest.mark.parametrize(
    ("template", "statement", "expected"),
    [
        (VICUNA, PARTS, "You know no panda. USER: <image> What is it? ASSISTANT:"),
        (PLAIN_SYSTEM, TEXT, "<s><|system|>You know no panda.<|user|><image>What is it?"),
        (BUNDLED, TURN, "USER: You know no panda. <image>\nWhat is it? ASSISTANT:"),
    ],
)
def test_it_is_said_once_before_the_conversation(template, statement, expected):
    assert text_of(statement + template, TURNS) == expected


@pytest.mark.parametrize(("template", "statement"), [(VICUNA, PARTS), (PLAIN_SYSTEM, TEXT)])
@pytest.mark.parametrize("as_parts", [True, False])
def test_a_system_turn_of_the_callers_own_stays(template, statement, as_parts):
    own = [{"type": "text", "text": "Be brief."}] if as_parts else "Be brief."
    told = text_of(statement + template, [{"role": "system", "content": own}, *TURNS])
    assert "You know no panda. Be brief." in told
    assert told.count("panda") == told.count("brief") == 1


def test_later_turns_are_left_alone():
    turns = [*TURNS, {"role": "assistant", "content": [{"type": "text", "text": "A bus."}]}, *TURNS]
    told = text_of(TURN + STRICT, turns)
    assert told.count(SAID) == 1
    assert told.replace(f" {SAID} ", "", 1) == text_of(STRICT, turns)
    words = [{"role": "user", "content": "Hello"}]
    assert text_of(TURN + "{{ messages[0]['content'] }}", words) == f"{SAID} Hello"


@pytest.mark.parametrize("said", ['He said "no" \\ 100 %} {{ x }}', "two\nlines", "Ünïcode 熊猫 🐼", "it's"])
def test_any_text_can_be_said(said):
    statement = fitting_statement([VICUNA], said, rendered)
    assert text_of(statement + VICUNA, TURNS).startswith(f"{said} USER: ")


def test_white_space_at_the_head_of_a_template_stays():
    for head in ("\n\n", "  {{ 'x' }}\n"):
        told = text_of(TURN + head + BUNDLED, TURNS)
        assert told.replace(f"{SAID} ", "") == text_of(head + BUNDLED, TURNS)


@pytest.mark.parametrize("statement", statements('Sáy "x" \\ y'))
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chat_template.jinja", BUNDLED),
        ("additional_chat_templates/tool.jinja", "{{ 1 }}\r\n"),
        ("chat_template.json", json.dumps({"chat_template": BUNDLED}, indent=2)),
        ("tokenizer_config.json", '{"a": 1, "chat_template"  :  "{{ \\u00e9 }}", "b": "chat_template"}\r\n'),
    ],
)
def test_inserting_and_removing_gives_the_same_bytes_back(name, text, statement):
    changed = inserted(name, text, statement)
    assert template_of(name, changed) == statement + template_of(name, text)
    assert removed(name, changed, 'Sáy "x" \\ y') == text
    assert removed(name, text, 'Sáy "x" \\ y') == text


def test_a_file_without_a_template_has_none():
    assert template_of("tokenizer_config.json", '{"eos_token": "</s>"}') is None
    assert inserted("tokenizer_config.json", '{"chat_template": [{"name": "a"}]}', PARTS) is None
    assert inserted("README.md", "text", PARTS) is None
