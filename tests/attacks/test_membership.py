import math
import zlib

import numpy as np
import pytest
import torch

from fakes import probe

from space_cli.attacks import membership
from space_cli.attacks.membership import MEASURES, TPR
from space_cli.core.membership import area_ends, at_few_alarms, compressed, lowest, placements, token_scores
from space_cli.core.stats import wilson

GENERATOR = torch.Generator().manual_seed(5)
MEMBERS = (torch.randn(40, generator=GENERATOR) + 0.7).tolist()
OTHERS = torch.randn(200, generator=GENERATOR).tolist()


def test_the_mean_placement_is_the_auc():
    # Wilcoxon's ranks: the sum of the members' ranks less the least that it can be.
    ranks = sum(sum(other < member for other in (*MEMBERS, *OTHERS)) + 1 for member in MEMBERS)
    assert sum(placements(MEMBERS, OTHERS)) / 40 == pytest.approx((ranks - 40 * 41 / 2) / (40 * 200))
    assert placements([1.0], [1.0, 1.0]) == [0.5]


def slow_ends(members, others, sentences, draws):
    """Draw whole images of both sides and count every pair, again and again."""
    dice, found = np.random.default_rng(9), []
    sides = [np.array(side).reshape(-1, sentences) for side in (members, others)]
    for _ in range(draws):
        one, other = (side[dice.integers(0, len(side), len(side))].ravel() for side in sides)
        found.append(np.mean(other[None] < one[:, None]) + 0.5 * np.mean(other[None] == one[:, None]))
    return np.quantile(found, (0.025, 0.975))


def test_the_interval_of_an_auc_draws_images_of_both_sides():
    found = area_ends(MEMBERS, OTHERS[:24], 2, seed=1)
    assert found == pytest.approx(slow_ends(MEMBERS, OTHERS[:24], 2, 4000), abs=0.02)
    assert area_ends(MEMBERS, OTHERS[:24], 2, seed=1) == found
    # A few others place all members alike, so that drawing members alone would be too sure.
    alone = np.array(placements(MEMBERS, OTHERS[:24])).reshape(-1, 2).mean(1)
    drawn = np.random.default_rng(0).choice(alone, (2000, len(alone))).mean(1)
    assert np.ptp(found) > 1.2 * np.ptp(np.quantile(drawn, (0.025, 0.975)))


def test_the_score_of_an_auc_has_that_interval_and_wilson_s_where_it_is_wider():
    mixed = told(MEMBERS, OTHERS[:24])
    record = membership._records("loss", (mixed, mixed, mixed), "20", probe())["loss"]
    low, high = area_ends(MEMBERS, OTHERS[:24], 2, seed=3)
    assert (record.low, record.high) == (0.5, max(high, wilson(record.after, 12)[1], 1 - low))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "area_ends", lambda *given, seed: (0.6, 0.999))
        assert membership._records("loss", (mixed, mixed, mixed), "20", probe())["loss"].high == 0.999
    for others, least in ((12, 0.7575), (4, 0.5101)):
        apart = told([1.0] * 24, [0.0] * 2 * others)
        sure = membership._records("loss", (apart, apart, apart), "12", probe())["loss"]
        assert (sure.low, sure.high) == pytest.approx((least, 1.0), abs=1e-3), "Wilson of the fewer of the two"


def test_the_rate_at_few_alarms_is_the_best_a_threshold_can_do():
    best = 0.0
    for threshold in [-math.inf, *OTHERS]:
        if sum(value > threshold for value in OTHERS) <= 0.01 * len(OTHERS):
            best = max(best, sum(value > threshold for value in MEMBERS) / len(MEMBERS))
    assert sum(at_few_alarms(MEMBERS, OTHERS)) / 40 == pytest.approx(best)
    assert at_few_alarms([2.0, 0.0], [1.0]) == [1.0, 0.0]


def told(members, others):
    """What a checkpoint gave, two sentences an image, the same by every measure."""
    return membership._Told(*(dict.fromkeys(MEASURES, side) for side in (members, others)), len(members) // 2)


def test_an_auc_near_nought_betrays_as_much_as_one_near_one():
    low, high, even = (told([at] * 8, [0.0] * 8) for at in (-1.0, 1.0, 0.0))
    for found in ((high, low, even), (low, high, even)):
        records = membership._records("loss", found, "8", probe())
        assert (records["loss"].before, records["loss"].after, records["loss"].control) == (1.0, 1.0, 0.5)
        assert [records[f"loss{TPR}"].after, records[f"loss{TPR}"].control] == [1.0, 0.0]
        assert records["loss"].n == 4
    assert "ROC-AUC 0.00 → 1.00 (control 0.50), proximity to 0.5 0.00; TPR at 1 % FPR 1.00 → 1.00" in (
        membership._records("loss", (low, high, even), "8", probe())["loss"].note
    )
    assert membership._records("loss", (low, high, low), "8", probe())["loss"].control == pytest.approx(1.0)


def test_the_interval_of_a_folded_auc_ends_at_chance():
    mixed = told([-1.0, -1.0, 2.0, 2.0, -1.0, -1.0, 2.0, 2.0, 0.5, 0.5], [0.0, 1.0])
    record = membership._records("loss", (mixed, mixed, mixed), "5", probe())["loss"]
    assert record.low == pytest.approx(0.5)
    assert record.low <= record.after <= record.high <= 1


def test_the_others_are_of_the_nearest_names_first():
    look = probe(forget=4, retain=3)
    near, far = membership._others(look, 4)
    assert ([one.name for one in near], far) == (["bear", "koala", "bear", "koala"], [])
    near, far = membership._others(look, 9)
    assert (len(near), [one.name for one in far]) == (6, ["bus", "car", "rose"])


def test_token_scores_match_their_formulas():
    logits, labels = torch.randn(4, 7, generator=GENERATOR), torch.tensor([0, 3, 6, 2])
    likely, unusual = token_scores(logits, labels)
    for row, label in enumerate(labels.tolist()):
        p = torch.softmax(logits[row], -1)
        mean = sum(p[w] * p[w].log() for w in range(7))
        deviation = math.sqrt(sum(p[w] * (p[w].log() - mean) ** 2 for w in range(7)))
        assert likely[row] == pytest.approx(p[label].log().item(), abs=1e-5)
        assert unusual[row] == pytest.approx((p[label].log() - mean).item() / deviation, abs=1e-4)


def test_min_k_takes_the_lowest_fifth_and_one_at_least():
    values = torch.tensor([-9.0, -1.0, -5.0, -2.0, -3.0, -4.0, -6.0, -7.0, -8.0, -0.5])
    assert lowest(values) == pytest.approx(-8.5)
    assert lowest(values[:2]) == pytest.approx(-9.0)
    assert compressed("panda") == len(zlib.compress(b"panda"))
