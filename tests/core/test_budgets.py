"""Options of metrics and attacks that an auditor sets."""

import pytest

from space_cli.core.budgets import budget, check_budgets
from space_cli.core.errors import UsageFault


def test_what_is_set_replaces_the_own_option_alone():
    plain, changed = (budget("attacks", "relearn", given) for given in ({}, {"relearn": {"rates": [1e-4]}}))
    assert (plain.rates, changed.rates) == ((3e-4, 1e-3), (1e-4,))
    assert changed.model_copy(update={"rates": plain.rates}) == plain
    assert budget("metrics", "retain_accuracy", {"retain_accuracy": {"phrasings": 3}}).phrasings == 3


@pytest.mark.parametrize(
    ("budgets", "said"),
    [
        ({"relearn": {"rate": 1}}, "`relearn` has no option `rate`"),
        ({"relearn": {"rates": []}}, "option `rates` of `relearn`"),
        ({"relearn": {"rates": [0]}}, "option `rates.0` of `relearn`"),
        ({"relearn": {"stops": []}}, "option `stops` of `relearn`"),
        ({"relearn": {"stops": [50, 5]}}, "option `stops` of `relearn`: .*steps must ascend"),
        ({"relearn": {"stops": [5, 5]}}, "option `stops` of `relearn`"),
        ({"hardening": {"radii": []}}, "option `radii` of `hardening`"),
        ({"relearn": {"rank": "high"}}, "option `rank` of `relearn`"),
        ({"jailbreak": {"images": 4}}, "about nothing that this audit runs"),
        ({"elicitation": {"images": 4}}, "about nothing that this audit runs"),
    ],
)
def test_what_does_not_fit_or_is_not_run_is_refused(budgets, said):
    with pytest.raises(UsageFault, match=said) as fault:
        check_budgets(budgets, ["retain_accuracy"], ["relearn", "hardening"])
    assert fault.value.exit_code == 2
    assert fault.value.hint


def test_what_fits_is_accepted():
    check_budgets(
        {"relearn": {"stops": [5, 50]}, "retain_accuracy": {"phrasings": 1}}, ["retain_accuracy"], ["relearn"]
    )
