"""How far the intervals of the benchmarks reach."""

import math

import numpy as np
import pytest

from benchmarks.intervals import Share, interval, quantile
from benchmarks.tables import figure, figures_of, spread
from tests.benchmarks.made_rows import row

# Degrees of freedom -> the two-sided 95 % quantile, as printed in Student's tables.
QUANTILES = {2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 23: 2.0687, 120: 1.9799}


@pytest.mark.parametrize("freedom", QUANTILES)
def test_the_quantiles_are_those_of_the_tables(freedom):
    assert quantile(freedom) == pytest.approx(QUANTILES[freedom], abs=5e-5)


def test_an_interval_of_few_units_reaches_as_far_as_student_s():
    values = [0.2, 0.3, 0.5, 0.4]
    reach = QUANTILES[3] * np.std(values, ddof=1) / math.sqrt(4)
    assert interval(values, share=True) == pytest.approx((0.35 - reach, 0.35 + reach), abs=1e-5)


def test_an_interval_of_skewed_values_reaches_as_far_as_the_bootstrap():
    values = [0.0] * 198 + [1.0] * 2
    low, high = interval(values, share=False)
    reach = quantile(199) * np.std(values, ddof=1) / math.sqrt(200)
    assert low == pytest.approx(0.01 - reach)
    assert high == 0.025 > 0.01 + reach


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_units_have_no_interval(count):
    assert interval([0.5] * count, share=True) is None
    found = figure("forget_accuracy", [[Share(0.5)]] * count)
    assert {"low", "high"} & set(found) == set()
    assert not spread(found)


def test_the_interval_of_shares_ends_at_0_and_1_and_no_other():
    low, high = interval([0.9, 1.0, 1.0], share=True)
    assert 0.0 < low < high == 1.0
    for name, values in (
        ("a, relative", (0.9, 1.0, 1.0)),
        ("seconds of erase", (0.9, 1.0, 1.0)),
        ("x", (0.0, 0.1, 0.0)),
    ):
        found = figure(name, [[one] for one in values])
        assert found["low"] < 0.0 or found["high"] > 1.0
    assert figure("x", [[Share(one)] for one in (0.0, 0.1, 0.0)])["low"] == 0.0


def test_scores_are_shares_where_their_unit_says_so_and_ratios_are_none():
    made = row()
    made["scores"]["retain_kl"] = {"before": 0.0, "after": 0.1, "control": None, "note": "", "unit": "nats/token"}
    shares = {name for name, value in figures_of(made).items() if isinstance(value, Share)}
    parts = ("", ", before")
    assert shares == {f"{name}{part}" for name in made["scores"] if name != "retain_kl" for part in parts}
