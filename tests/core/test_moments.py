"""Second moments of keys, against the plain product."""

import pytest
import torch

from space_cli.core.moments import FewKeys, SecondMoment, with_openings


@pytest.mark.parametrize("width", [1, 3, 8, 21, 64])
def test_a_moment_is_the_mean_of_products_however_the_keys_come_and_whenever_it_is_asked_for(width):
    keys = torch.randn(50, width, generator=torch.Generator().manual_seed(width))
    moment = SecondMoment(width).update(keys[:7])
    torch.testing.assert_close(moment.mean(), keys[:7].double().T @ keys[:7].double() / 7, rtol=1e-12, atol=1e-12)
    moment.update(keys[7:]).mean()
    found = moment.mean()
    torch.testing.assert_close(found, keys.double().T @ keys.double() / 50, rtol=1e-12, atol=1e-12)
    assert moment.tokens == 50


def test_what_was_summed_where_no_gradient_is_known_of_is_there_for_who_wants_one():
    keys = torch.randn(50, 21, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        moment = SecondMoment(21).update(keys)
    scale = torch.ones(21, dtype=torch.float64, requires_grad=True)
    (moment.mean() @ scale).sum().backward()
    torch.testing.assert_close(scale.grad, (keys.double().T @ keys.double()).sum(0) / 50, rtol=1e-12, atol=1e-12)


def test_openings_count_with_their_weight_and_none_for_nothing():
    keys = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    every, opening = SecondMoment(5).update(keys), FewKeys(5).update(keys[:2]).update(keys[2:3])
    expected = keys.double().T @ keys.double() / 9 + 0.1 * (keys[:3].double().T @ keys[:3].double() / 3)
    torch.testing.assert_close(with_openings(every, opening, 0.1), expected, rtol=1e-12, atol=1e-12)
    assert not FewKeys(5).mean().any()
    assert not SecondMoment(5).mean().any()
