import pytest
import torch

from attack_subjects import drawn, untouched, weights
from subjects import bundled

from space_cli.core.linear_probe import cross_validated
from space_cli.core.perturbing import Perturbing, shifted, universal
from space_cli.core.picturing import changes
from space_cli.core.relearning import Course, area, linears, relearn
from space_cli.core.types import Prompt


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_probe_finds_what_is_there_and_not_what_is_not():
    labels = torch.arange(40) < 20
    noise = torch.randn(40, 100, generator=generator())
    clear = noise + 1.0 * labels[:, None]
    assert cross_validated(10 * clear + 5, labels, 4, generator()).float().mean() > 0.9
    chances = [cross_validated(noise, labels, 4, generator(seed)).float().mean().item() for seed in range(8)]
    assert 0.3 < sum(chances) / 8 < 0.7


def test_a_probe_is_never_judged_on_what_it_was_fitted_to():
    # Every image has a dimension of its own: fitted ones are told at once, held-out ones only by chance.
    labels = torch.arange(12) % 2 == 0
    assert cross_validated(torch.eye(12), labels, 3, generator()).float().mean() <= 0.6


def test_a_universal_shift_stays_within_reach_and_helps_every_picture():
    pixels = torch.rand(6, 3, 4, 4, generator=generator())
    wanted = torch.randn(3, 4, 4, generator=generator(1))
    options = Perturbing(steps=20, reach=0.05, pace=0.01, batch=3)
    shift = universal(lambda batch: (batch * wanted).sum((1, 2, 3)), pixels, options, generator())
    assert shift.abs().max() <= 0.05 + 1e-7
    assert torch.allclose(shift, 0.05 * wanted.sign(), atol=1e-6)
    assert shifted(pixels, shift).min() >= 0
    assert shifted(pixels, shift).max() <= 1


def test_looking_at_pixels_is_what_features_do():
    images = [one.image for one in drawn().forget]
    whole = bundled().features(images)
    pixels = bundled().pixels(images).requires_grad_(True)
    assert 0 <= pixels.min() < pixels.max() <= 1
    seen = bundled().look(pixels)
    assert torch.allclose(seen, whole, atol=1e-4)
    (gradient,) = torch.autograd.grad(seen.sum(), pixels)
    assert gradient.abs().sum() > 0


def test_relearning_learns_in_hooks_alone():
    copies, features = weights(), bundled().features([one.image for one in drawn().retain[:4]])
    prompts = [Prompt("What is this?", "a wuggle.", row) for row in range(4)]
    batch = bundled().batch(prompts)
    found = relearn(
        bundled(),
        prompts,
        features,
        Course((0, 4, 8), lr=5e-3),
        lambda: bundled().log_likelihood(batch, features).mean(),
        seed=0,
    )
    assert found[0] < found[1] < found[2]
    assert bundled().log_likelihood(batch, features).mean() == pytest.approx(found[0].item(), abs=1e-5)
    assert untouched(copies)


def test_what_relearns_is_below_the_tower_and_above_the_head():
    features = bundled().features([drawn().forget[0].image])
    names = linears(bundled(), Prompt("What is this?", "a bus.", 0), features)
    assert "model.multi_modal_projector.linear_2" in names
    assert "model.language_model.layers.3.mlp.down_proj" in names
    assert not any("vision_tower" in name or "lm_head" in name for name in names)


def test_the_area_is_the_mean_height():
    assert area([0, 5, 20, 50], [0.2] * 4) == pytest.approx(0.2)
    assert area([0, 10], [0.0, 1.0]) == pytest.approx(0.5)
    assert area([5], [0.3]) == pytest.approx(0.3)


@pytest.mark.parametrize("name", changes())
def test_a_change_keeps_the_size_and_changes_the_picture(name):
    image, other = drawn().forget[0].image.convert("RGB"), drawn().retain[0].image.convert("RGB")
    changed = changes()[name](image, other)
    assert (changed.size, changed.mode) == (image.size, "RGB")
    assert changed.tobytes() != image.tobytes()
    assert changed.tobytes() == changes()[name](image, other).tobytes()
