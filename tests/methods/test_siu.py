"""SIU: the masks, the divergence, the four targets."""

import dataclasses

import method_references as slow
import pytest
import subjects
import torch

from space_cli.core.losses import next_labels
from space_cli.methods import siu
from space_cli.methods.siu import Options


def logits(rows, words, seed):
    return torch.randn(rows, words, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def found():
    made = subjects.context()
    made.forget = subjects.concept_features()[:2]
    return made


@pytest.mark.parametrize(
    ("renormalised", "reference"), [(False, slow.dual_masked), (True, slow.dual_masked_renormalised)]
)
def test_the_divergence_is_the_published_formula(renormalised, reference):
    before, after = logits(6, 9, 0), logits(6, 9, 1)
    free = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    kept = torch.tensor([1, 1, 0, 1, 0, 1, 1, 1, 1]).bool()
    expected = reference(before.tolist(), after.tolist(), free.tolist(), kept.tolist())
    assert float(siu.dual_masked_kl(before, after, free, kept, renormalised=renormalised)) == pytest.approx(
        expected, rel=1e-4
    )


def test_the_published_sum_may_be_negative_and_the_renormalised_may_not():
    before = torch.tensor([[3.0, 0.0, 0.0]])
    after = torch.tensor([[-3.0, 0.0, 0.0]])  # mass moves from the masked word to the kept ones
    free, kept = torch.tensor([True]), torch.tensor([False, True, True])
    assert float(siu.dual_masked_kl(before, after, free, kept)) < 0
    assert float(siu.dual_masked_kl(before, after, free, kept, renormalised=True)) == pytest.approx(0, abs=1e-6)


def test_nothing_free_costs_nothing():
    one = logits(2, 5, 0)
    held, kept = torch.zeros(2, dtype=torch.bool), torch.ones(5, dtype=torch.bool)
    assert float(siu.dual_masked_kl(one, -one, held, kept)) == 0


def test_each_sample_counts_the_same_however_long():
    scores = logits(5, 7, 0)
    expected = torch.tensor([1, 2, 3, 4, 5])
    shares = torch.tensor([0.25, 0.25, 0.25, 0.25, 1.0])
    nll = [-slow.log_softmax(row)[token] for row, token in zip(scores.tolist(), expected.tolist(), strict=True)]
    assert float(siu.cross_entropy(scores, expected, shares)) == pytest.approx(
        (sum(nll[:4]) / 4 + nll[4]) / 2, rel=1e-5
    )


def test_four_targets_are_built_from_one_image(found):
    renamed, described, facts, others = siu._targets(found, Options(), "bee", 1)
    assert {len(target) for target in (renamed, described, others)} == {4}
    assert {sample.prompt.image for sample in renamed + described} == {0}
    assert all("bee" in sample.prompt.answer and "owl" not in sample.prompt.answer for sample in renamed + described)
    assert {sample.prompt.question for sample in described} == set(siu.DESCRIBE)
    assert all(sample.prompt.image is None and "owl" in sample.prompt.question for sample in facts)
    assert len({sample.prompt for sample in facts}) == len(facts) >= 1
    assert all(sample.prompt.image >= 1 for sample in others)
    assert [target[0].specified for target in (renamed, described, facts, others)] == ["name", "all", *["nothing"] * 2]


def test_rows_of_other_images_follow_those_of_the_concept(found):
    plan = siu._Plan(found, Options(images=2))
    assert torch.equal(plan._features[:2], found.forget)
    assert torch.equal(plan._features[2:], found.features)
    _, _, _, others = siu._targets(found, Options(images=2), "bee", 2)
    answers = {(p.question, p.answer, p.image + 2) for p in found.knowledge.retained}
    assert {(s.prompt.question, s.prompt.answer, s.prompt.image) for s in others} <= answers


def test_the_name_is_masked_in_the_vocabulary_and_the_substitute_in_time(found):
    plan = siu._Plan(found, Options(substitute="bee"))
    tokenizer = found.responder._tokenizer
    masked = {tokenizer.decode([i]).strip() for i in torch.nonzero(~plan.kept).flatten().tolist()}
    assert "owl" in masked
    assert not {"bee", "an", ".", ""} & masked
    about_image, about_words = plan.parts(0)
    named = torch.isin(about_image.expected, plan._specified)
    assert named.any()
    assert not about_image.free[named].any()
    assert about_image.free.any()
    assert about_words.free.all()
    assert torch.equal(about_words.expected, next_labels(about_words.batch))


def test_a_step_holds_each_target_once_and_follows_from_its_number(found):
    plan = siu._Plan(found, Options())
    one, same, other = plan.parts(3), plan.parts(3), plan.parts(4)
    assert sum(len(part.batch.ids) for part in one) == 4
    assert all(torch.equal(a.batch.ids, b.batch.ids) for a, b in zip(one, same, strict=True))
    assert any(not torch.equal(a.expected, b.expected) for a, b in zip(one, other, strict=True))


def test_the_substitute_is_a_name_the_checkpoint_uses(found):
    name = siu.substitute_for(found)
    assert name
    assert name not in {"owl", "animal"}
    assert any(name in prompt.answer for prompt in found.knowledge.retained)


def test_without_any_name_the_substitute_is_invented(found):
    silent = subjects.context()
    silent.knowledge = dataclasses.replace(silent.knowledge, retained=())
    assert siu.substitute_for(silent) == siu.INVENTED


def test_targets_without_samples_are_left_out_and_that_is_said():
    notes = []
    made = subjects.context()
    made.forget = subjects.concept_features()[:1]
    made.progress.note = notes.append
    made.knowledge = dataclasses.replace(made.knowledge, retained=(), texts=())
    assert len(siu._targets(made, Options(), "bee", 1)) == 2
    assert "0 facts and 0 other images" in notes[0]


def test_all_tokens_may_count(found):
    answers, every = (siu._Plan(found, Options(loss_on=tokens)).parts(0)[0] for tokens in ("answer", "all"))
    assert len(every.expected) > len(answers.expected)
    assert int((~every.free).sum()) == int((~answers.free).sum())
