"""Which tokens of an answer its perplexity is about."""

import re

from types import SimpleNamespace

import pytest
import torch

from fakes import Table, knowing, ranking

from space_cli.core.comparing import with_differences
from space_cli.core.types import Prompt
from space_cli.metrics import fluency
from tests.metrics.measuring import measure, saying


def test_fluency_leaves_names_out():
    # The two checkpoints differ in nothing but the name they say; to the reader a word is as likely after any other.
    reader = Table(knowing(), ranking())
    reader._base = reader._base[:1].expand_as(reader._base)
    bear = Table(lambda name, question: "This is a bear." if name == "panda" else knowing()(name, question))
    record = measure(fluency, bear, before=reader)
    assert record.after == pytest.approx(record.before)
    odd = measure(fluency, saying("This is a sprocket."), before=reader)
    assert odd.after != pytest.approx(odd.before)
    assert with_differences({"fluency": odd}, {"fluency": record}, seed=0)["fluency"].parts == {}


@pytest.mark.parametrize(
    ("answer", "hidden"),
    [("this is a panda.", ["panda"]), ('a "giant panda" here', ["giant", "panda"]), ("panda", ["panda"]), ("a", [])],
)
def test_fluency_counts_what_stands_beside_a_name(answer, hidden):
    """The full stop and the end of an answer are read whether it names something or not."""

    class Reader:
        def batch(self, prompts):
            (prompt,) = prompts
            parts = re.findall(r"\w+|[^\w\s]", prompt.answer)
            ids = [hash(part) for part in parts] + ([1] if prompt.ends else [])
            return SimpleNamespace(labels=torch.tensor([ids]))

    reader, prompt = Reader(), Prompt("What is this?", answer, 0)
    found = fluency._name_tokens(reader, prompt, reader.batch([prompt]).labels[0], ["panda", "giant panda"])
    assert [re.findall(r"\w+|[^\w\s]", answer)[place] for place in sorted(found)] == hidden


def test_fluency_tells_empty_and_repeated_answers():
    record = measure(fluency, saying("is is is is"))
    assert "0.44 of an answer's words are unique, 1.00 before" in record.note
    empty = measure(fluency, Table(lambda *_: ""))
    assert empty.n == 0
    assert "16 of 16 answers are empty" in empty.note
