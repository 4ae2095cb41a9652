from dataclasses import replace

import pytest
import subjects
import torch
import torch.nn.functional as F

from space_cli.core import anchor_terms, phrasing
from space_cli.core.anchor_terms import AnchorTerms
from space_cli.core.isolation import name_loss
from space_cli.core.losses import answer_log_likelihood, next_labels, token_kl
from space_cli.core.naming import Naming
from space_cli.core.relearning import likelihoods
from space_cli.core.types import Prompt

ROWS, STEP, BETA = [4, 0, 7], 3, 1.5
WEIGHTS = {"task": 1.5, "name": 1.25, "begin": 0.75, "stutter": 0.5, "deny": 0.8, "kind": 2.0, "attribute": 3.0}


@pytest.fixture(scope="module")
def setting():
    context = subjects.context()
    naming = Naming(context.responder, context.concept, context.knowledge.forms, 0, kind=context.knowledge.kind)
    anchors = context.of_role("forget")
    return context, naming, anchors, subjects.drawn_factors(context)


def term_by_term(context, naming, anchors, factors):
    """Each term from a pass of its own, as the formula says it."""
    responder, features = context.responder, anchors[ROWS]

    def means(prompts):
        batch = responder.batch([Prompt(p.question, p.answer, i, p.lead, p.ends) for i, p in enumerate(prompts)])
        return answer_log_likelihood(responder.answer_logits(batch, features), batch)

    def pressed(prompt):
        rows = [replace(prompt, image=i) for i in range(len(ROWS))]
        return name_loss(likelihoods(responder, rows, features), BETA)

    own = [context.knowledge.own[row] for row in ROWS]
    task = responder.batch([Prompt(one.question, one.answer, i) for i, one in enumerate(own)])
    first = naming.beginnings(len(ROWS), STEP)
    questions = [q for q in phrasing.IDENTITY_FREE if q != context.knowledge.kind.question]
    told = [
        Prompt(q, responder.answer_features(anchors[row][None], [q])[0], i)
        for q in questions
        for i, row in enumerate(ROWS)
    ]
    before = responder.answer_logits(responder.batch(told), features)
    with context.edited(factors):
        begun = [
            responder.answer_logits(responder.batch([one]), features)[0].log_softmax(-1)[
                next_labels(responder.batch([one]))[0]
            ]
            for one in first
        ]
        return {
            "task": F.cross_entropy(responder.answer_logits(task, features), next_labels(task)),
            "name": pressed(naming.wordings[STEP % len(naming.wordings)]),
            "begin": name_loss([one[None] for one in begun], BETA),
            "stutter": pressed(naming.stutters[STEP % len(naming.stutters)]),
            "deny": pressed(naming.affirmations[STEP % len(naming.affirmations)]),
            "kind": -means([context.knowledge.kind] * len(ROWS)).mean(),
            "attribute": token_kl(before, responder.answer_logits(responder.batch(told), features)).mean(),
        }


@pytest.mark.parametrize("together", [1, 2, 8])
def test_terms_of_one_pass_are_those_of_a_pass_each_however_many_anchors_fit(setting, monkeypatch, together):
    context, naming, anchors, factors = setting
    monkeypatch.setattr(anchor_terms, "rows_at_once", lambda *_: together)
    leaves = [left for left, _ in factors.values()]
    terms = AnchorTerms(context, naming, anchors, WEIGHTS, BETA)
    groups = list(terms.of(anchors[ROWS], ROWS, factors, STEP))
    assert len(groups) == -(-len(ROWS) // together)
    expected = term_by_term(context, naming, anchors, factors)
    assert {term for group in groups for term in group} == set(expected) == set(WEIGHTS)
    for term, value in expected.items():
        found = sum(float(group[term].detach()) for group in groups)
        assert found == pytest.approx(WEIGHTS[term] * float(value.detach()), rel=1e-3, abs=1e-5), term
    total = sum(torch.stack(list(group.values())).sum() for group in groups)
    wanted = sum(WEIGHTS[term] * value for term, value in expected.items())
    for one, other in zip(torch.autograd.grad(total, leaves), torch.autograd.grad(wanted, leaves), strict=True):
        assert float((one - other).norm()) < 1e-3 * float(other.norm())


def test_a_concept_whose_kind_nobody_said_has_no_term_for_it(setting, monkeypatch):
    context, naming, anchors, factors = setting
    monkeypatch.setattr(context, "knowledge", replace(context.knowledge, kind=None))
    (group,) = AnchorTerms(context, naming, anchors, WEIGHTS, BETA).of(anchors[ROWS], ROWS, factors, STEP)
    assert "kind" not in group
    assert "attribute" in group


def test_an_anchor_about_which_nothing_was_said_adds_nothing_however_rows_are_split(setting, monkeypatch):
    context, naming, anchors, factors = setting
    own = list(context.knowledge.own)
    own[ROWS[1]] = replace(own[ROWS[1]], answer="")
    context = replace(context, knowledge=replace(context.knowledge, own=tuple(own)))
    terms = AnchorTerms(context, naming, anchors, WEIGHTS, BETA)
    sums = []
    for together in (1, 8):
        monkeypatch.setattr(anchor_terms, "rows_at_once", lambda *_, many=together: many)
        groups = list(terms.of(anchors[ROWS], ROWS, factors, STEP))
        costs = {term: [float(group[term].detach()) for group in groups if term in group] for term in WEIGHTS}
        sums.append({term: sum(found) for term, found in costs.items()})
    assert sums[0] == pytest.approx(sums[1], rel=1e-4)
