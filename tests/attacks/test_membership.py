import math
import zlib

import pytest
import torch

from space_cli.core.membership import compressed, lowest, placements, rate_at_few_alarms, token_scores

GENERATOR = torch.Generator().manual_seed(5)
MEMBERS = (torch.randn(40, generator=GENERATOR) + 0.7).tolist()
OTHERS = torch.randn(200, generator=GENERATOR).tolist()


def test_the_mean_placement_is_the_auc():
    # Wilcoxon's ranks: the sum of the members' ranks less the least that it can be.
    ranks = sum(sum(other < member for other in (*MEMBERS, *OTHERS)) + 1 for member in MEMBERS)
    assert sum(placements(MEMBERS, OTHERS)) / 40 == pytest.approx((ranks - 40 * 41 / 2) / (40 * 200))
    assert placements([1.0], [1.0, 1.0]) == [0.5]


def test_the_rate_at_few_alarms_is_the_best_a_threshold_can_do():
    best = 0.0
    for threshold in [-math.inf, *OTHERS]:
        if sum(value > threshold for value in OTHERS) <= 0.01 * len(OTHERS):
            best = max(best, sum(value > threshold for value in MEMBERS) / len(MEMBERS))
    assert rate_at_few_alarms(MEMBERS, OTHERS) == pytest.approx(best)
    assert rate_at_few_alarms([2.0, 0.0], [1.0]) == pytest.approx(0.5)


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
