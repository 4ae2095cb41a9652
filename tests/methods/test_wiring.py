"""What each method hands to its loss: which half, under which weights, with which sign. No checkpoint is needed.

A formula may be right and still be given the edited checkpoint for the frozen one, or the retained half for the other:
the name fades all the same.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import method_references as slow
import pytest
import reference
import torch

from space_cli.core.types import Batch
from space_cli.methods import ga, ga_diff, kl_min, npo, po, siu, space_paper

FORGET, RETAIN = [1.0, 2.5], [3.0, 0.5, 1.0]
MOVED = 0.7
"""What the edits add to every value: a term of the frozen checkpoint lacks it."""
LABELS = torch.tensor([[-100, 3, 4, -100], [-100, -100, 2, -100], [-100, 1, 1, 5]])
TOLD = int((LABELS[:, 1:] != -100).sum())
"""Tokens of the retained answers."""


class Context:
    """An erasure that knows whether edits are hooked in."""

    seed = 0

    def __init__(self):
        self.hooked = False

    @contextmanager
    def edited(self, factors):
        self.hooked = True
        yield
        self.hooked = False


class Samples:
    """Both halves, whose values tell which one they are of and whether edits are hooked in."""

    named = ()

    def __init__(self, context, loss_on):
        self._context = context

    def forget(self, step, size):
        return "forget"

    def retain(self, step, size):
        return Batch(LABELS.clamp(min=0), torch.ones_like(LABELS), LABELS, None)

    def draw(self, pool, size, step, label):
        return []

    def batch(self, prompts):
        return "refused"

    def forget_nll(self, batch):
        return torch.tensor(FORGET) + self._moved

    def retain_nll(self, batch):
        return torch.tensor(RETAIN) + self._moved

    def retain_logits(self, batch):
        return logits(seed=int(self._context.hooked))

    @property
    def _moved(self):
        return MOVED * self._context.hooked


def logits(seed, rows=TOLD):
    return torch.randn(rows, 7, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def terms_of(monkeypatch):
    def found(method, **options):
        given = []
        adapter = SimpleNamespace(factors=dict, edits=list)
        for name, fake in (
            ("Samples", Samples),
            ("Adapter", lambda context, rank, alpha: adapter),
            ("train", lambda context, adapter, options, terms: given.append(terms)),
        ):
            monkeypatch.setattr(method, name, fake, raising=False)
        assert list(method.edits(Context(), method.Options(**options))) == []
        return {name: float(term) for name, term in given[0](0).items()}

    return found


def edited(values):
    return [value + MOVED for value in values]


def test_ascent_and_difference_take_the_edited_checkpoint(terms_of):
    assert sum(terms_of(ga).values()) == pytest.approx(slow.ascent(edited(FORGET)))
    expected = slow.difference(edited(FORGET), edited(RETAIN), 0.7)
    assert sum(terms_of(ga_diff, lambda_retain=0.7).values()) == pytest.approx(expected)


def test_a_refusal_is_learnt_and_not_unlearnt(terms_of):
    expected = slow.refusal(edited(FORGET), edited(RETAIN), 0.7)
    assert sum(terms_of(po, lambda_retain=0.7).values()) == pytest.approx(expected)


def test_the_reference_of_npo_is_the_frozen_checkpoint(terms_of):
    expected = slow.negative_preference(edited(FORGET), FORGET, 0.4)
    assert terms_of(npo) == {"forget": pytest.approx(expected)}
    also = terms_of(npo, lambda_retain=0.5, beta=0.9)
    assert also["forget"] == pytest.approx(slow.negative_preference(edited(FORGET), FORGET, 0.9))
    assert also["retain"] == pytest.approx(0.5 * sum(edited(RETAIN)) / len(RETAIN))


@pytest.mark.parametrize("form", ["published", "textbook"])
def test_kl_minimisation_compares_the_edited_checkpoint_with_the_frozen_one(terms_of, form):
    lengths = (LABELS[:, 1:] != -100).sum(1).tolist()
    before, after = ([part.tolist() for part in logits(seed).split(lengths)] for seed in (0, 1))
    rows = [slow.divergence(*pair, [True] * n) for *pair, n in zip(before, after, lengths, strict=True)]
    shares = rows if form == "published" else [row / n for row, n in zip(rows, lengths, strict=True)]
    wanted = {"forget": slow.ascent(edited(FORGET)), "kl": 0.5 * sum(shares) / len(shares)}
    if form == "published":
        told = [one[one != -100].tolist() for one in LABELS[:, 1:]]
        nll = [
            -sum(slow.log_softmax(row)[token] for row, token in zip(scores, tokens, strict=True)) / len(tokens)
            for scores, tokens in zip(after, told, strict=True)
        ]
        wanted["retain"] = sum(nll) / len(nll)
    found = terms_of(kl_min, form=form, weight=0.5)
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in wanted.items()}


@pytest.mark.parametrize("masked_kl", ["published", "renormalised"])
def test_siu_compares_the_edited_checkpoint_with_the_frozen_one(terms_of, monkeypatch, masked_kl):
    free, kept = torch.tensor([1, 0, 1, 1]).bool(), torch.tensor([1, 1, 0, 1, 1, 0, 1]).bool()
    expected, shares = torch.tensor([1, 2, 3, 4]), torch.tensor([0.5, 0.5, 0.5, 0.5])

    class Plan:
        def __init__(self, context, options):
            self.kept = kept
            self.logits = lambda part: logits(int(context.hooked), len(part.expected)) + part.place

        def parts(self, step):
            return [SimpleNamespace(place=place, expected=expected, free=free, shares=shares) for place in (0.0, 1.0)]

    monkeypatch.setattr(siu, "_Plan", Plan)
    found = terms_of(siu, ce=0.9, kl=0.75, masked_kl=masked_kl)
    before, after = ([*logits(seed, 4).tolist()] * 2 for seed in (0, 1))
    reference = slow.dual_masked if masked_kl == "published" else slow.dual_masked_renormalised
    apart = reference(before, after, free.tolist() * 2, kept.tolist())
    nll = [-slow.log_softmax(row)[token] for row, token in zip(after, expected.tolist() * 2, strict=True)]
    assert found == {
        "ce": pytest.approx(0.9 * sum(nll) / len(nll), rel=1e-5), "kl": pytest.approx(0.75 * apart, rel=1e-4),
    }  # fmt: skip


def test_the_published_description_sums_its_three_terms_under_the_edits(monkeypatch):
    rows, direction = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 0, 0, 0])
    context, given = Context(), []
    context.of_role = lambda role: torch.zeros(5, 1, 1)
    context.outcome, context.record = SimpleNamespace(), lambda row: None
    context.progress = SimpleNamespace(task=lambda *words: _silent())
    fakes = {
        "task_loss": lambda context, features, rows: torch.tensor(2.0 + context.hooked),
        "pooled_states": lambda context, features, layer: rows * context.hooked,
        "middle_block": lambda context, depth: 1,
        "concept_direction": lambda context, layer: direction,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(space_paper.isolation, name, fake)
    monkeypatch.setattr(space_paper, "Subspace", lambda *given, **words: SimpleNamespace(factors=dict, edits=list))
    descent = SimpleNamespace(step=lambda number, terms: given.extend(terms) or {"loss": 0.0})
    monkeypatch.setattr(space_paper, "Descent", lambda subspace, lr: descent)
    list(space_paper.edits(context, space_paper.Options(steps=1, lambda_anchor=0.5, lambda_diversity=0.2)))
    assert {name: float(term) for name, term in given[0].items()} == {
        "task": 3.0,
        "orth": pytest.approx(0.5 * reference.repulsion(rows, direction), rel=1e-5),
        "div": pytest.approx(-0.2 * reference.spectral_entropy(rows), rel=1e-4),
    }


@contextmanager
def _silent():
    yield lambda *done, **figures: None
