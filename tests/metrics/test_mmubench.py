"""MMUBench's metrics against formulas written out the slow way."""

import math
import re
import zlib

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fakes import NAMES, Table, knowing, picture, probe, ranking, shown

from space_cli.core import registry, stats
from space_cli.core.phrasing import AUDIT_OPEN, ERASE_OPEN, KIND_QUESTION, STYLE_QUESTION
from space_cli.core.probing import Notes, build_probe, described
from space_cli.core.recipe import Concept
from space_cli.core.types import Batch, Probe
from space_cli.metrics import c_dis, diversity, efficacy, fluency, forget_accuracy, generality, specificity

OPTIONAL = (c_dis, diversity, efficacy, generality, specificity)
BEFORE, AFTER = Table(knowing(), ranking()), Table(knowing("panda"), ranking("panda"))
ANSWERS = (
    "This is a panda.",
    "A giant panda, a panda!",
    "It is a bear.",
    "",
    "so so so",
    "Pandas play.",
    "the pandaren",
)


def measure(metric, after, *, before=BEFORE, look=None, **options):
    return metric.measure(before, after, look or probe(), metric.Options(**options))


def wavering(name, question):
    """Answer by a hash, so that no two questions go alike."""
    return ANSWERS[zlib.crc32(f"{name} {question}".encode()) % len(ANSWERS)]


def names_the_panda(answer):
    return re.search(r"\b(giant )?pandas?\b", answer, re.IGNORECASE) is not None


def full():
    """A probe whose auditor has notes about every name."""
    facts = [(f"What kind of thing is a {name}?", "animal") for name in NAMES[1:]]
    return replace(
        probe(),
        kinds={name: "animal" for name in NAMES[1:4]},
        other_facts=[*facts, ("Where would you find a bus?", "")],
    )


@pytest.mark.parametrize("metric", OPTIONAL, ids=lambda metric: metric.__name__)
def test_it_runs_only_where_it_is_named(metric):
    assert metric.DEFAULT is False
    assert "arXiv:2405.12523" in metric.__doc__
    assert "Direction:" in metric.__doc__


@pytest.mark.parametrize(("metric", "images"), [(efficacy, "used"), (generality, "forget")])
def test_the_share_of_answers_without_the_name_by_hand(metric, images):
    questions = ERASE_OPEN if metric is efficacy else AUDIT_OPEN
    look = replace(probe(), used=[picture("panda"), picture("bear"), picture("bus")])
    names = ["panda", "bear", "bus"] if metric is efficacy else ["panda"] * 12
    free = [not names_the_panda(wavering(name, question)) for name in names for question in questions]
    record = measure(metric, Table(wavering), look=look)
    assert record.after == pytest.approx(sum(free) / len(free))
    assert 0 < record.after < 1
    assert (record.n, record.better, record.unit) == (len(getattr(look, images)), "higher", "share")


def test_generality_is_what_forget_accuracy_leaves():
    table = Table(wavering)
    rest, named = measure(generality, table), measure(forget_accuracy, table)
    assert (rest.before, rest.after) == pytest.approx((1 - named.before, 1 - named.after))
    assert (rest.low, rest.high) == pytest.approx((1 - named.high, 1 - named.low), abs=0.02)


def test_generality_says_what_could_be_forgotten():
    assert "60 of 60 answers named it before, 100.0% no longer do; 0 are empty" in measure(generality, AFTER).note
    assert "nothing could be forgotten" in measure(generality, AFTER, before=AFTER).note
    assert "60 are empty after" in measure(generality, Table(lambda *_: "")).note


def test_a_longer_name_of_something_else_is_no_failure():
    look = replace(probe(), names=(*NAMES[1:], "red panda"))
    assert measure(generality, Table(lambda *_: "A red panda."), look=look).after == pytest.approx(1.0)


def test_efficacy_asks_the_erasures_own_questions_and_says_if_nothing_could_fail():
    asked = []
    spy = Table(lambda name, question: asked.append(question) or "This is a bus.")
    look = replace(probe(), used=[picture("panda", view) for view in range(3)])
    record = measure(efficacy, spy, before=spy, look=look)
    assert set(asked) == set(ERASE_OPEN)
    assert (record.before, record.after) == (1.0, 1.0)
    assert record.note.startswith("0 of 15 answers named it before")
    assert measure(efficacy, AFTER, look=look).before == pytest.approx(0.0)
    assert measure(efficacy, AFTER, look=replace(look, used=[])).n == 0


def test_diversity_by_hand():
    shares = []
    for question in AUDIT_OPEN:
        answer = re.findall(r"\w+", wavering("panda", question).lower())
        unique = []
        for word in answer:
            if word not in unique:
                unique.append(word)
        shares.append(len(unique) / len(answer) if answer else 0.0)
    record = measure(diversity, Table(wavering))
    assert record.after == pytest.approx(sum(shares) / len(shares))
    assert record.before == pytest.approx(1.0)


def test_diversity_catches_repetition_and_silence_and_counts_sentences():
    assert measure(diversity, Table(lambda *_: "no No no, NO!")).after == pytest.approx(1 / 4)
    assert measure(diversity, Table(lambda *_: "")).after == pytest.approx(0.0)
    note = measure(diversity, AFTER).note
    assert note == "1 distinct answers among 60, 1 before; 3.0 words an answer"


def chance_of(table, said, word):
    """Return the probability the fake gives a word after another one."""
    (last,), (own,) = table._ids(said), table._ids(word)
    return math.exp(table.logits(one(last), None)[0, 0].log_softmax(-1)[own])


def one(token):
    ids = torch.tensor([[token]])
    return Batch(ids, torch.ones_like(ids), ids, None)


def test_c_dis_by_hand():
    before = Table(lambda name, question: "It is a “giant panda”." if "drawing" in question else "This is a panda.")
    after = Table(knowing(), shift=0.8)
    terms = []
    for said, word in (("a", "panda"), ("a", "giant"), ("giant", "panda")):
        p, q = chance_of(before, said, word), chance_of(after, said, word)
        terms.append(p * math.log(p / q))
    record = measure(c_dis, after, before=before, look=replace(probe(), aliases=("giant", "panda", "giant panda")))
    assert record.after == pytest.approx(sum(terms) / 3, rel=1e-4)
    assert (record.before, record.n, record.unit) == (0.0, 12, "nats/token")
    assert record.note.startswith("24 of 24 answers named it before")


def test_c_dis_is_nought_for_the_same_and_higher_the_more_is_forgotten():
    class Forgetful(Table):
        """Thinks the panda's token less likely by so many nats."""

        def logits(self, batch, features):
            found = super().logits(batch, features).clone()
            found[..., self._ids("panda")[0]] -= self.shift
            return found

    forgetful = {nats: Forgetful(knowing(), shift=nats) for nats in (0.0, 1.0, 8.0)}
    for table in forgetful.values():
        table._other.zero_()
    still, near, far = (measure(c_dis, table) for table in forgetful.values())
    assert (still.before, still.after, still.low, still.high) == (0.0, 0.0, 0.0, 0.0)
    assert 0 < near.after < far.after
    assert measure(c_dis, BEFORE, before=forgetful[1.0]).after < 0


def test_c_dis_reads_only_where_the_name_was_said():
    record = measure(c_dis, AFTER, before=AFTER)
    assert (record.n, record.after) == (0, None)
    assert record.note.startswith("0 of 24 answers named it before; a token of the name had probability none")


def judged(pairs, was):
    """Grade a transcript of (shown name, question, answer) again, by reading the question."""
    skills = {"yes_no": [], "choice": [], "kind": [], "style": [], "text": []}
    for (name, question, answer), (*_, old) in zip(pairs, was, strict=True):
        own = f" {name} " in question.replace("?", " ")
        if name is None:
            skills["text"].append("animal" in answer if "kind" in question else answer == old)
        elif question == KIND_QUESTION:
            skills["kind"].append("animal" in answer if name in NAMES[1:4] else answer == old)
        elif question == STYLE_QUESTION:
            skills["style"].append(answer == old)
        elif question.startswith("Is this "):
            offered = [other for other in NAMES if f" {other}" in question]
            assert len(offered) == 4
            assert name in offered
            skills["choice"].append([other for other in offered if other in answer] == [name])
        else:
            skills["yes_no"].append(answer.startswith("Yes" if own else "No"))
    return {skill: sum(values) / len(values) for skill, values in skills.items() if values}


def transcript(say):
    told = []
    table = Table(lambda name, question: told.append((name, question, say(name, question))) or told[-1][2])
    return table, told


def slipping(name, question):
    """Answer well, but for one question in four."""
    answer = knowing()(name, question)
    return "It is a rose or a car." if zlib.crc32(f"{name}/{question}".encode()) % 4 == 0 else answer


def test_specificity_by_hand():
    (first, was), (second, now) = transcript(knowing()), transcript(slipping)
    record = measure(specificity, second, before=first, look=full())
    before, after = judged(was, was), judged(now, was)
    assert set(before) == {"yes_no", "choice", "kind", "style", "text"}
    assert record.before == pytest.approx(sum(before.values()) / 5)
    assert record.after == pytest.approx(sum(after.values()) / 5)
    assert record.after < record.before
    for skill, value in after.items():
        assert f"{skill} {before[skill]:.3f} → {value:.3f}" in record.note
    assert record.low <= record.after <= record.high
    assert record.n == 8  # facts; there are 21 images


def test_specificity_interval_is_the_mean_of_its_skills():
    look = replace(full(), retain=[], kinds={}, other_facts=[])
    broken = Table(lambda name, question: "no idea" if "drawn" in question else knowing()(name, question))
    record = measure(specificity, broken, look=look)
    kind, style = stats.interval([1.0] * 4), stats.interval([0.0] * 4)
    assert record.after == pytest.approx(1 / 2)
    assert (record.low, record.high) == pytest.approx(((kind.low + style.low) / 2, (kind.high + style.high) / 2))
    assert "kind 1.000 → 1.000 (0 of 4 labelled); style 1.000 → 0.000 (0 of 4 labelled)" in record.note


def test_specificity_counts_only_skills_that_were_there():
    agreeing = Table(lambda name, question: "Yes." if "see a" in question or "in this im" in question else "It is.")
    record = measure(specificity, agreeing, before=agreeing, look=full())
    assert "not shown to be had before: yes_no, choice" in record.note
    assert "yes_no 0" not in record.note
    assert "style 1.000 → 1.000" in record.note


def test_specificity_hears_a_second_answer_to_a_choice():
    both = Table(lambda name, question: question if question.startswith("Is this ") else knowing()(name, question))
    assert "choice 1.000 → 0.000" in measure(specificity, both, look=full()).note


def test_specificity_offers_no_name_that_holds_another_nor_the_concept():
    asked = []
    spy = Table(lambda name, question: asked.append((name, question)) or knowing()(name, question))
    look = replace(full(), names=(*NAMES[1:], "polar bear"), retain=shown("bear", 8))
    measure(specificity, spy, look=look)
    assert any(question.startswith("Is this ") for _, question in asked)
    assert not any("polar" in question or "panda" in question or name == "panda" for name, question in asked)


def test_specificity_asks_what_can_be_asked():
    note = measure(specificity, AFTER, look=replace(full(), names=("bear",), retain=shown("bear", 3))).note
    assert "yes_no" not in note
    assert "choice" not in note
    record = measure(specificity, AFTER, look=Probe("panda", "a panda", ("panda",), None))
    assert (record.n, record.after) == (0, None)


def test_fluency_notes_how_the_erased_checkpoint_reads_itself():
    look = replace(probe(), forget=shown("panda", 1), general=[])
    after = Table(lambda *_: "so it goes", shift=0.6)
    nats = [-math.log(chance_of(after, said, word)) for said, word in (("so", "it"), ("it", "goes"))]
    asked = after._ids(AUDIT_OPEN[0])[-1]
    likely = after.logits(one(asked), None)[0, 0].log_softmax(-1)
    ended = after.logits(one(after._ids("goes")[0]), None)[0, 0].log_softmax(-1)[1]
    nats += [-float(likely[after._ids("so")[0]]), -float(ended)]
    assert (
        f"{math.exp(sum(nats) / 4):.2f} as the erased checkpoint reads itself"
        in measure(fluency, after, look=look).note
    )


def test_the_probe_knows_what_the_notes_say_of_other_names():
    notes = {
        "bear": Notes(kind="animal"),
        "bus": Notes(facts=(("Where do buses stop?", "depot"),)),
        "panda": Notes(kind="x"),
    }
    concept = described(Concept(name="panda"), notes)
    look = build_probe(concept, ([], []), ["bear", "bus", "Rome"], notes, ordered=True, seed=0)
    assert look.kinds == {"bear": "animal"}
    assert look.other_facts == [
        ("What kind of thing is a bear?", "animal"),
        ("Where would you find a bear?", ""),
        ("Where do buses stop?", "depot"),
        ("What kind of thing is Rome?", ""),
        ("Where would you find Rome?", ""),
    ]
    assert look.facts == [("What kind of thing is a panda?", "x"), ("Where would you find a panda?", "")]


def test_the_page_of_metrics_has_a_section_for_each():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    titles = re.findall(r"^### `(\w+)`$", page, flags=re.MULTILINE)
    assert sorted(titles) == sorted(name.replace("-", "_") for name in registry.names("metrics"))
