"""What drifted most and what lost its name, found among the retained and trained on."""

from dataclasses import replace

import pytest
import subjects
import torch

from space_cli.core import budget, rehearsing
from space_cli.core.budget import cost, lost_names
from space_cli.core.drifting import drifts
from space_cli.core.isolation import drift
from space_cli.core.rehearsing import Rehearsal
from space_cli.methods import dcsi

ROUGH = {
    "steps": 16, "least": 16, "lr": 4e-2, "refresh": 0, "harden_steps": 8, "depths": 0, "batch": 6, "retain_batch": 8,
    "affirm_batch": 4, "check": 5, "repairs": 0, "widenings": 0, "relearn_steps": 0,
}  # fmt: skip
"""Rehearsing alone: every other part that moves the drift is off."""


def erased(**changes):
    found = subjects.context()
    edits = list(dcsi.edits(found, dcsi.Options(**(ROUGH | changes))))
    return found, {edit.layer: (edit.left, edit.right) for edit in edits}


@pytest.fixture(scope="module")
def roughly():
    return erased(rehearsals=0)


def slow_drift(found, prompt, factors):
    batch = found.responder.batch([prompt])
    with torch.no_grad():
        return float(drift(found, batch, found.features, factors, {})) * int((batch.labels != -100).sum())


def per_token(found, factors):
    """Return the mean drift of what may be rehearsed, nats per token."""
    told = drifts(found, found.knowledge.retained, factors)
    return sum(one.nats for one in told) / sum(one.tokens for one in told)


def test_the_drift_of_a_prompt_is_what_it_is_when_asked_alone(roughly):
    found, factors = roughly
    prompts = [*found.knowledge.retained[:9], *found.knowledge.texts[:5]]
    for prompt, fast in zip(prompts, drifts(found, prompts, factors), strict=True):
        assert fast.nats == pytest.approx(slow_drift(found, prompt, factors), rel=2e-3, abs=1e-5)
        assert fast.tokens == int((found.responder.batch([prompt]).labels != -100).sum())


def test_nothing_drifted_where_nothing_changed():
    found = subjects.context()
    assert max(one.nats for one in drifts(found, found.knowledge.retained[:8], {})) < 1e-6


def test_what_was_said_before_is_asked_once_where_it_is_kept(roughly, monkeypatch):
    found, factors = replace(roughly[0], before={}), roughly[1]
    prompts, asked = [*found.knowledge.held_out[:6], *found.knowledge.held_out_texts[:3]], []
    answer_logits = type(found.responder).answer_logits
    monkeypatch.setattr(type(found.responder), "answer_logits", lambda *those: asked.append(1) or answer_logits(*those))
    plain = drifts(found, prompts, factors)
    assert not found.before
    first, once = drifts(found, prompts, factors, keep=True), len(asked)
    again = drifts(found, prompts[::-1], factors, keep=True)
    assert (once, len(asked)) == (8, 10)  # a batch about images and one of texts, before and after, and after alone
    assert [one.nats for one in first] == [one.nats for one in plain]
    assert [one.nats for one in again[::-1]] == pytest.approx([one.nats for one in plain], abs=1e-5)


def test_names_are_lost_as_where_every_neighbour_is_named_anew(roughly, monkeypatch):
    found, factors = roughly
    much = {layer: (3 * left, right) for layer, (left, right) in factors.items()}
    lost = lost_names(found, much)
    assert 0 < len(lost) < len(found.sure_neighbours)
    monkeypatch.setattr(budget, "_said_again", lambda *_: set())
    assert lost_names(found, much) == lost


def test_no_neighbour_is_named_anew_whose_answer_would_be_the_same(roughly, monkeypatch):
    found, asked = roughly[0], []
    monkeypatch.setattr(type(found.responder), "answer_features", lambda *those, about: asked.extend(about) or [])
    assert lost_names(found, {}) == []
    assert found.sure_neighbours
    assert not asked


def test_those_that_drifted_most_are_rehearsed_and_neighbours_that_lost_their_names(roughly, monkeypatch):
    monkeypatch.setattr(rehearsing, "KEPT", 4)
    found, factors = roughly
    rehearsal, shown = Rehearsal(found), []
    monkeypatch.setattr(
        rehearsing, "drift_terms", lambda context, prompts, features, factors: shown.append(list(prompts)) or iter(())
    )
    rehearsal.look(factors, "turn")
    list(rehearsal.terms(factors, "0", 100))
    names, moved = shown
    pool = [*found.knowledge.retained, *dict.fromkeys(found.knowledge.texts)]
    looked = found.drawn(pool, "turn moved", rehearsing.LOOKED_AT)
    others = [slow_drift(found, prompt, factors) for prompt in looked if prompt not in moved]
    assert min(slow_drift(found, prompt, factors) for prompt in moved) >= max(others) * 0.999
    assert len(moved) == 4
    assert set(names) == set(lost_names(found, factors)) - set(found.knowledge.held_out)


def test_a_neighbour_that_has_its_name_back_is_rehearsed_still(roughly, monkeypatch):
    found, factors = roughly
    rehearsal, shown = Rehearsal(found), []
    monkeypatch.setattr(
        rehearsing, "drift_terms", lambda context, prompts, features, factors: shown.append(list(prompts)) or iter(())
    )
    lost = replace(found.knowledge.retained[0], image=0)
    monkeypatch.setattr(rehearsing, "lost_names", lambda *_: [lost])
    rehearsal.look(factors, "first")
    monkeypatch.setattr(rehearsing, "lost_names", lambda *_: [])
    rehearsal.look(factors, "second")
    list(rehearsal.terms(factors, "0", 8))
    assert shown[0] == [lost]


def test_what_is_held_out_is_never_rehearsed(roughly, monkeypatch):
    found, factors = roughly
    rehearsal, shown = Rehearsal(found), []
    monkeypatch.setattr(
        rehearsing, "drift_terms", lambda context, prompts, features, factors: shown.append(list(prompts)) or iter(())
    )
    kept, aside = found.knowledge.retained[0], found.knowledge.held_out[0]
    monkeypatch.setattr(rehearsing, "lost_names", lambda *_: [aside, kept])
    rehearsal.look(factors, "turn")
    list(rehearsal.terms(factors, "0", 1000))
    assert shown[0] == [kept]
    assert not set(shown[1]) & {*found.knowledge.held_out, *found.knowledge.held_out_texts}


def test_what_is_rehearsed_drifts_less_than_after_as_many_steps_without():
    # At a rougher rate the added weight overshoots; at the default width this checkpoint drifts 2 % less only (ADR 25).
    # What is rehearsed drifts a quarter as much. What is held out follows by some 7 % or more, by processor.
    own = {"lr": dcsi.Options().lr, "leak": 0.014}
    longer, plain = erased(steps=31, least=31, rehearsals=0, **own)
    found, rehearsed = erased(rehearsals=3, **own)
    assert longer.outcome.steps == found.outcome.steps == 31
    assert per_token(found, rehearsed) < 0.5 * per_token(longer, plain)
    assert cost(found, rehearsed)["retain_kl"] < cost(longer, plain)["retain_kl"]
    before = subjects.log_p(found, [], subjects.concept_features())
    with found.edited(rehearsed):
        after = subjects.log_p(found, [], subjects.concept_features())
    assert before > -0.5
    assert after < before - 1.0
