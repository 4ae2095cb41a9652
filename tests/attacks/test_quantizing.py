import pytest
import torch

from attack_subjects import Sketchy, drawn, source_free, untouched, weights
from fakes import knowing, probe
from subjects import bundled
from torch import nn

from space_cli.attacks import quantize
from space_cli.core import quantizing
from space_cli.core.quantizing import int8, quantized, rtn4

WEIGHT = torch.randn(5, 200, generator=torch.Generator().manual_seed(0))


def slow_int8(weight):
    found = weight.clone()
    for row in range(len(weight)):
        scale = max(abs(value.item()) for value in weight[row]) / 127
        for place in range(weight.shape[1]):
            found[row, place] = round(weight[row, place].item() / scale) * scale
    return found


def slow_rtn4(weight, group=128):
    found = weight.clone()
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], group):
            part = weight[row, start : start + group].tolist()
            low, high = min(*part, 0.0), max(*part, 0.0)
            scale = (high - low) / 15
            zero = round(-low / scale)
            for place, value in enumerate(part):
                level = min(15, max(0, round(value / scale + zero)))
                found[row, start + place] = (level - zero) * scale
    return found


@pytest.mark.parametrize("fast, slow", [(int8, slow_int8), (rtn4, slow_rtn4)])
def test_rounding_is_that_of_the_slow_reference(fast, slow):
    assert torch.allclose(fast(WEIGHT), slow(WEIGHT), atol=1e-5)


def test_the_levels_are_as_many_as_the_bits_allow():
    assert max(len(row.unique()) for row in int8(WEIGHT)) <= 255
    assert max(len(row.unique()) for row in rtn4(WEIGHT)[:, :128]) <= 16
    assert (int8(WEIGHT) - WEIGHT).norm() < 0.01 * WEIGHT.norm()
    assert 0.02 * WEIGHT.norm() < (rtn4(WEIGHT) - WEIGHT).norm() < 0.15 * WEIGHT.norm()


def test_nought_stays_nought_and_halves_stay_halves():
    assert not rtn4(torch.zeros(2, 8)).any()
    assert not int8(torch.zeros(2, 8)).any()
    assert rtn4(WEIGHT.half()).dtype == torch.float16


def test_weights_come_back_bit_by_bit_even_after_a_failure():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    own = [part.weight for part in model]
    copies = [weight.detach().clone() for weight in own]
    with quantized(model, rtn4) as layers:
        assert layers == 2
        assert not model[0].weight.equal(copies[0])
    with pytest.raises(RuntimeError), quantized(model, rtn4):
        model(torch.zeros(1, 5))
    for part, weight, copy in zip(model, own, copies, strict=True):
        assert part.weight is weight
        assert weight.equal(copy)


def test_what_the_bundled_checkpoint_knows_it_knows_in_four_bits():
    copies = weights()
    head = bundled().model.get_output_embeddings().weight
    with quantized(bundled().model, rtn4):
        assert bundled().model.get_output_embeddings().weight is head
    found = quantize.attack(bundled(), bundled(), drawn(), quantize.Options(questions=1, controls=4))
    for part in ("int8", "rtn4"):
        assert found[part].before == found[part].after == pytest.approx(1.0)
        assert found[part].control == pytest.approx(0.0)
        assert "12 images) named 1.000 → 1.000 rounded" in found[part].note
    assert untouched(copies)


def test_without_images_it_looks_at_hardened_anchors():
    found = quantize.attack(bundled(), bundled(), source_free(drawn()), quantize.Options(images=3, questions=1))
    assert "3 hardened held-out anchors (no image)" in found["int8"].note
    assert found["int8"].before == found["int8"].after
    assert found["int8"].unattacked > 0.6


NF4 = (-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0)
NF4 += (0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0)
"""Quantiles of a normal distribution, with an exact zero (Dettmers et al., 2023, arXiv:2305.14314, appendix E)."""


def test_nf4_is_the_nearest_of_its_levels_in_each_block_of_64():
    weight = torch.randn(6, 128, generator=torch.Generator().manual_seed(1))
    found, levels = quantizing.nf4(weight), torch.tensor(NF4)
    for block, rounded in zip(weight.reshape(-1, 64), found.reshape(-1, 64), strict=True):
        scale = block.abs().max()
        off, away = ((values[:, None] / scale - levels).abs().amin(1) for values in (rounded, block))
        # Scales are rounded to eight bits, too, and what lies in the middle of two levels may go to either.
        assert (off < 5e-3).all()
        assert torch.allclose((rounded - block).abs() / scale, away, atol=5e-3)
    assert len((found / found.abs().amax()).unique()) > 16, "each block has its own scale"
    assert quantizing.nf4(weight.half()).dtype == torch.float16


def test_nf4_leaves_the_bundled_checkpoint_what_it_knows():
    copies = weights()
    found = quantize.attack(bundled(), bundled(), drawn(), quantize.Options(questions=1, controls=0))["nf4"]
    assert found.before == found.after == pytest.approx(1.0)
    assert untouched(copies)


def test_nf4_needs_its_package(monkeypatch):
    monkeypatch.setattr(quantize, "has_nf4", lambda: False)
    found = quantize.attack(bundled(), bundled(), drawn(), quantize.Options(images=1, questions=1, controls=0))
    assert (found["nf4"].n, found["nf4"].note) == (0, "bitsandbytes is not installed")


class Broken:
    """A package that loads and has no kernel for this device."""

    @staticmethod
    def quantize_4bit(weight, **options):
        raise RuntimeError("no kernel\nfor this device")


def unloadable(name):
    raise OSError("libcudart.so.13: cannot open shared object file")


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (unloadable, "OSError: libcudart.so.13: cannot open shared object file"),
        (lambda name: Broken, "RuntimeError: no kernel for this device"),
        (lambda name: object(), "AttributeError: 'object' object has no attribute 'quantize_4bit'"),
    ],
)
def test_a_package_that_cannot_round_here_leaves_nf4_out_and_the_weights_alone(monkeypatch, load, why):
    monkeypatch.setattr(quantize, "has_nf4", lambda: True)
    monkeypatch.setattr(quantizing.importlib, "import_module", load)
    responder = Sketchy(knowing())
    responder.model = nn.Linear(8, 8)
    own = responder.model.weight
    found = quantize.attack(responder, responder, probe(forget=2, retain=1), quantize.Options(questions=1))
    assert (found["nf4"].n, found["nf4"].note) == (0, f"bitsandbytes cannot round on cpu: {why}")
    assert found["int8"].n == found["rtn4"].n == 2
    assert responder.model.weight is own


def test_what_rounding_costs_others_stands_among_the_parts():
    found = quantize.attack(Sketchy(knowing()), Sketchy(knowing("bus")), probe(forget=2, retain=1), quantize.Options())
    told = found["int8"].parts
    shares = {f"retained_{when}{how}" for when in ("before", "after") for how in ("", "_rounded")}
    assert set(told) == shares | {"retained_beyond", "retained_low", "retained_high"}
    assert told["retained_before"] == told["retained_before_rounded"] == 1.0
    assert told["retained_after"] == told["retained_after_rounded"] == pytest.approx(6 / 7)
    assert "7 images) named 0.857 → 0.857 rounded, before erasing 1.000 → 1.000" in found["int8"].note


class Forgetful(Sketchy):
    """Knows all but some things while its weights are rounded."""

    def __init__(self, *losing: str) -> None:
        super().__init__(knowing())
        self.model = nn.Linear(8, 8)
        self.own, self.losing = self.model.weight, knowing(*losing)

    def answer_features(self, features, questions, **options):
        rounded = self.model.weight is not self.own
        return (Sketchy(self.losing) if rounded else super()).answer_features(features, questions, **options)


def test_rounding_costs_others_what_it_turns_beyond_what_it_turned_before_erasing():
    shown = probe(forget=2, retain=4)
    costs = {
        whose: quantize.attack(before, after, shown, quantize.Options(questions=1))["int8"].parts
        for whose, before, after in (
            ("both", Forgetful("bus"), Forgetful("bus")),
            ("the erased one", Forgetful(), Forgetful("bus")),
            ("the base", Forgetful("bus"), Forgetful()),
        )
    }
    bus = sum(one.name == "bus" for one in shown.retain) / len(shown.retain)
    assert costs["both"]["retained_before_rounded"] == pytest.approx(1 - bus)
    assert costs["both"]["retained_beyond"] == 0
    assert costs["both"]["retained_high"] > 0, "images that agree are no proof"
    assert costs["the erased one"]["retained_beyond"] == pytest.approx(bus)
    assert 0 < costs["the erased one"]["retained_low"] < bus < costs["the erased one"]["retained_high"]
    assert costs["the base"]["retained_beyond"] == pytest.approx(-bus)


def test_the_control_is_on_fewer_images_than_what_is_kept():
    asked = []

    class Counting(Sketchy):
        def features(self, images):
            asked.append(len(images))
            return super().features(images)

    quantize.attack(
        Counting(knowing()), Counting(knowing()), probe(forget=1, retain=4), quantize.Options(controls=3, kept=5)
    )
    assert set(asked) == {1, 3, 5}


def test_nf4_goes_through_its_package(monkeypatch):
    class Functional:
        @staticmethod
        def quantize_4bit(weight, *, blocksize, compress_statistics, quant_type):
            assert (blocksize, compress_statistics, quant_type) == (64, True, "nf4")
            return weight.round(), None

        @staticmethod
        def dequantize_4bit(packed, state):
            return packed.reshape(-1)

    monkeypatch.setattr(quantizing.importlib, "import_module", lambda name: Functional)
    assert quantizing.nf4(WEIGHT).equal(WEIGHT.round())
