"""What every metric obeys; a new file in `space_cli/metrics` is tested here by being there."""

from dataclasses import fields

import pytest

from fakes import Table, knowing, probe, ranking
from pydantic import BaseModel

from space_cli.core import registry
from space_cli.core.records import ScoreRecord
from space_cli.core.types import Probe

NAMES = registry.names("metrics")
# Its attack needs gradients through a language model, which a table of answers has not.
ANSWERED = [name for name in NAMES if name != "elicitation"]


class Nothing(BaseModel):
    pass


def options(metric):
    return getattr(metric, "Options", Nothing)()


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_needs_and_what_it_is(name):
    metric = registry.load("metrics", name)
    assert metric.__doc__
    assert metric.measure.__doc__
    assert isinstance(metric.NEEDS, frozenset)
    assert {field.name for field in fields(Probe)} >= metric.NEEDS
    assert isinstance(options(metric), BaseModel)


@pytest.mark.parametrize("name", ANSWERED)
def test_nothing_changed_measures_no_change(name):
    metric, same = registry.load("metrics", name), Table(knowing(), ranking(), shift=0.3)
    record = metric.measure(same, same, probe(), options(metric))
    assert record.before == record.after
    assert record.n > 0


@pytest.mark.parametrize("name", ANSWERED)
def test_an_interval_holds_the_mean_and_the_seed_decides_it(name):
    metric = registry.load("metrics", name)
    before, after = Table(knowing(), ranking()), Table(knowing("panda", "bear"), ranking("panda"), shift=0.2)
    first, second = (metric.measure(before, after, probe(), options(metric)) for _ in range(2))
    assert first == second
    assert first.low <= first.after <= first.high
    if first.unit == "share":
        assert 0 <= first.low <= first.high <= 1


@pytest.mark.parametrize("name", ANSWERED)
def test_it_survives_the_least_it_asks_for(name):
    metric = registry.load("metrics", name)
    full = probe()
    bare = Probe(
        name="panda",
        phrase="a panda",
        aliases=("panda",),
        kind=None,
        **{need: getattr(full, need)[:1] for need in metric.NEEDS},
    )
    record = metric.measure(Table(knowing()), Table(knowing()), bare, options(metric))
    assert isinstance(record, ScoreRecord)
    assert (record.after is None) == (record.n == 0)


@pytest.mark.parametrize("name", ANSWERED)
def test_a_mute_checkpoint_is_measured_all_the_same(name):
    metric = registry.load("metrics", name)
    record = metric.measure(Table(knowing(), ranking()), Table(lambda *_: ""), probe(), options(metric))
    assert isinstance(record, ScoreRecord)
