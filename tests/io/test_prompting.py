from dataclasses import replace

import pytest
import subjects

from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from space_cli.core.types import Prompt
from space_cli.io.prompting import Prompting

ASKED = Prompt("What is this?", "This is an owl.", 0)


class Counting:
    """A tokenizer that counts what it is asked."""

    def __init__(self, tokenizer):
        self.tokenizer, self.calls = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, text, **options):
        self.calls += 1
        return self.tokenizer(text, **options)


def prompting():
    responder = subjects.bundled()
    counting = Counting(responder._tokenizer)
    return Prompting(counting, responder.family), counting


def test_a_wording_is_tokenized_once_whatever_image_it_is_about():
    known, counting = prompting()
    known.answered([replace(ASKED, image=row) for row in range(5)])
    once = counting.calls
    known.answered([replace(ASKED, image=row) for row in range(5, 9)])
    assert counting.calls == once == 2


def test_whatever_changes_the_tokens_is_tokenized_apart():
    known, _ = prompting()
    others = (
        replace(ASKED, image=None),
        replace(ASKED, ends=False),
        replace(ASKED, lead="This"),
        replace(ASKED, answer="This is an elk."),
        replace(ASKED, question="What do you see?"),
    )
    found = [known.ids(prompt) for prompt in (ASKED, *others)]
    assert all(one != other for at, one in enumerate(found) for other in found[:at])
    assert found == [prompting()[0].ids(prompt) for prompt in (ASKED, *others)]


def test_what_is_remembered_cannot_be_changed_from_outside():
    known, _ = prompting()
    ids, answer = known.ids(ASKED)
    expected = list(ids), list(answer)
    ids.clear()
    answer.append(7)
    assert known.ids(ASKED) == expected


PIECES = ("<unk>", "<image>", "</s>", "▁", ":", *"Aowl熊猫", "▁o")


def pieces():
    """A tokenizer like that of Llama, whose tokens begin with their space, if they are known with one."""
    known = Tokenizer(models.BPE({piece: row for row, piece in enumerate(PIECES)}, [("▁", "o")], unk_token="<unk>"))
    known.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    known.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made = PreTrainedTokenizerFast(tokenizer_object=known, eos_token="</s>", pad_token="</s>")
    made.chat_template = "{{ messages[0]['content'][-1]['text'] ~ 'A:' }}"
    return made


@pytest.mark.parametrize(("name", "tokens"), [("owl", ["▁o", "w", "l"]), ("熊猫", ["熊", "猫"])])
def test_a_names_first_token_is_no_bare_space(name, tokens):
    tokenizer = pieces()
    known = Prompting(tokenizer, subjects.bundled().family)
    ids, answer = known.ids(Prompt("", name, None, ends=False))
    assert tokenizer.convert_ids_to_tokens(answer) == tokens
    assert [*ids, *answer] == tokenizer(f"A: {name}")["input_ids"]
