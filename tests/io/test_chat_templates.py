"""Where a checkpoint's chat template is looked for, and which one is refused."""

import json
import shutil

from pathlib import Path

import pytest
import subjects

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.core.errors import ArtifactFault
from space_cli.core.types import Prompt
from space_cli.io import template_child
from space_cli.io.model import open_model
from space_cli.io.prompting import Prompting

JINJA = "chat_template.jinja"
OWN = (checkpoint_folder() / JINJA).read_text()
TEXT_ONLY = "{% for message in messages %}USER: {{ message['content'] }} {% endfor %}ASSISTANT:"
JOINING = "{% for message in messages %}{{ 'USER: ' + message['content'] }} {% endfor %}ASSISTANT:"
PROMPTS = (
    Prompt("What is this?", "an owl", 0, lead="This is"),
    Prompt("What kind of thing is an owl?", "It is an animal."),
)


@pytest.fixture
def llava(tmp_path):
    folder = tmp_path / "llava"
    shutil.copytree(checkpoint_folder(), folder)
    return folder


def put(path, template):
    """Write a template under its key into a JSON file that may hold more."""
    held = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(held | {"chat_template": template}))


def asked(responder):
    return [responder._prompting.ids(prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("name", ["chat_template.json", "processor_config.json", "tokenizer_config.json"])
def test_a_template_is_found_where_earlier_versions_of_transformers_put_it(llava, name):
    (llava / JINJA).unlink()
    put(llava / name, OWN)
    assert asked(open_model(llava, device="cpu")) == asked(subjects.bundled())


def test_a_processors_template_is_taken_before_that_of_the_language_model(llava):
    (llava / JINJA).write_text(TEXT_ONLY)
    put(llava / "chat_template.json", OWN)
    assert asked(open_model(llava, device="cpu")) == asked(subjects.bundled())


def test_a_folder_without_a_template_is_refused(llava):
    (llava / JINJA).unlink()
    with pytest.raises(ArtifactFault, match="has no chat template"):
        open_model(llava, device="cpu")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (TEXT_ONLY, "shows 0 visual tokens where 36 are needed"),
        (OWN.replace("<image>", "<image><image>"), "shows 72 visual tokens where 36 are needed"),
        (f"<image>{OWN}", "shows 36 visual tokens where 0 are needed"),
        (JOINING, "cannot be rendered"),
        ("{{ raise_exception('no images') }}", "cannot be rendered: no images"),
        ("{{ 1 // 0 }}", "cannot be rendered: integer division or modulo by zero"),
        ("<image> What is this? ASSISTANT:", "cannot be rendered: it does not write a question once and as it is"),
        (OWN.replace("part['text']", "part['text'] | upper"), "does not write a question once and as it is"),
        ("{{ 'a' * 10 ** 11 }}", "it takes more than 5 seconds, 2 GiB or 100000 characters"),
        (
            "{% set x = namespace(v='a') %}{% for i in range(9999) %}{% set x.v = x.v ~ x.v %}{% endfor %}",
            "more than 5",
        ),
    ],
)
def test_a_template_that_does_not_show_the_image_once_is_refused(llava, template, message):
    (llava / JINJA).write_text(template)
    with pytest.raises(ArtifactFault, match=message) as fault:
        open_model(llava, device="cpu")
    assert "\n" not in fault.value.message


def test_a_template_without_an_end_is_stopped(llava, monkeypatch):
    """Which question it is asked decides, and no template knows the one that it is asked."""
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    patient, own = template_child.SECONDS, Path(template_child.__file__).read_text(encoding="utf-8")
    child = llava / "child.py"
    child.write_text(own.replace(f"SECONDS = {patient}", "SECONDS = 1"))
    monkeypatch.setattr(template_child, "__file__", str(child))
    (llava / JINJA).write_text(
        "{% if 'What' not in messages[0]['content'][-1]['text'] %}" + loops + "{% endif %}" + OWN
    )
    with pytest.raises(ArtifactFault, match="cannot be rendered: it takes more than"):
        open_model(llava, device="cpu")


def test_a_process_that_ends_for_another_reason_says_so(llava, monkeypatch):
    child = llava / "child.py"
    child.write_text("import no_such_package")
    monkeypatch.setattr(template_child, "__file__", str(child))
    (llava / JINJA).write_text(OWN + "{# not rendered before #}")
    with pytest.raises(ArtifactFault, match=r"cannot be rendered: ModuleNotFoundError: No module named"):
        open_model(llava, device="cpu")


def test_a_question_is_written_as_transformers_would():
    tokenizer = subjects.bundled()._tokenizer
    for prompt in PROMPTS:
        content = [] if prompt.image is None else [{"type": "image"}]
        content.append({"type": "text", "text": prompt.question})
        turn = [{"role": "user", "content": content}]
        wanted = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        assert subjects.bundled()._prompting.text(prompt.question, image=prompt.image is not None) == wanted


@pytest.mark.parametrize(("close", "glue"), [("ASSISTANT:", " "), ("ASSISTANT: ", ""), ("ASSISTANT\n", "")])
def test_an_answer_begins_where_the_template_ends(llava, close, glue):
    (llava / JINJA).write_text(OWN.replace("}ASSISTANT:{", f"}}{{{{ {json.dumps(close)} }}}}{{"))
    responder = open_model(llava, device="cpu")
    known, tokenizer = Prompting(responder._tokenizer, responder.family), responder._tokenizer
    question = Prompt("What is this?", "", None)
    opened = tokenizer.decode(known.ids(question)[0])
    for lead, answer in (("", "this is an owl"), ("this is", "an owl")):
        ids, words = known.ids(Prompt(question.question, answer, None, lead, ends=False))
        assert tokenizer.decode([*ids, *words]) == f"{opened}{glue}this is an owl"
        assert tokenizer.decode(words).strip() == answer


def test_every_token_that_ends_a_turn_ends_an_answer(llava):
    path = llava / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [7, 2]}))
    responder = open_model(llava, device="cpu")
    assert responder._ends == sorted({7, 2, responder._tokenizer.eos_token_id})
    question = "What kind of thing is an owl?"
    said = responder.answer(None, [question])[0]
    first, *_ = responder._prompting.ids(Prompt(question, said, ends=False))[1]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": first}))
    cut = open_model(llava, device="cpu").answer(None, [question])[0]
    assert cut != said
    assert said.startswith(cut)


@pytest.mark.parametrize(
    "asked",
    [
        {"do_sample": True, "temperature": 5.0, "top_k": 3, "min_p": 0.1},
        {"repetition_penalty": 9.0, "no_repeat_ngram_size": 1},
        {"num_beams": 4, "early_stopping": True},
        {"min_new_tokens": 20, "max_length": 3},
        {"suppress_tokens": list(range(20, 2000))},
        {"return_dict_in_generate": True, "output_scores": True},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_the_weights_answer_is_asked_for_whatever_else_a_folder_asks(llava, asked):
    path = llava / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | asked))
    questions = ["What kind of thing is an owl?", "What kind of thing is a bus?"]
    wanted = subjects.bundled().answer(None, questions)
    assert open_model(llava, device="cpu").answer(None, questions) == wanted
