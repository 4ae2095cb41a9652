"""Options of metrics and attacks that an auditor sets: another budget than the one that is tried by default."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from space_cli.core import registry
from space_cli.core.errors import UsageFault
from space_cli.core.plugin_options import fitted, told

Budgets = Mapping[str, Mapping[str, Any]]
"""Options by the name of the metric or attack, as its score has it."""


class _NoOptions(BaseModel):
    """For a plug-in without any."""


def budget(kind: str, name: str, budgets: Budgets) -> BaseModel:
    """Return the options of a metric or an attack.

    Args:
        kind: "metrics" or "attacks".
        name: Of the plug-in.
        budgets: What the auditor set.

    Raises:
        UsageFault: It has no such option, or a value does not fit.
    """
    schema: type[BaseModel] = getattr(registry.load(kind, name), "Options", _NoOptions)
    given = budgets.get(name.replace("-", "_"), {})
    unknown = sorted({*given} - {*schema.model_fields})
    if unknown:
        raise UsageFault(f"`{name}` has no option `{unknown[0]}`", hint=told(schema))
    return fitted(schema, given, f"`{name}`")


def check_budgets(budgets: Budgets, metrics: Iterable[str], attacks: Iterable[str]) -> None:
    """Refuse options of what is not run, and options that do not fit.

    Raises:
        UsageFault: One of both.
    """
    kinds = dict.fromkeys(metrics, "metrics") | {name.replace("-", "_"): "attacks" for name in attacks}
    for name in budgets:
        if name not in kinds:
            raise UsageFault(
                f"`--set {name}.…` is about nothing that this audit runs", hint=f"it runs {', '.join(kinds)}"
            )
        budget(kinds[name], name, budgets)


def budgets_text(budgets: Budgets) -> str:
    """Write in one line what was set.

    Example:
        >>> budgets_text({"relearn": {"rank": 4, "stops": [5, 50]}})
        'relearn.rank = 4, relearn.stops = [5, 50]'
    """
    return ", ".join(f"{name}.{key} = {value}" for name, given in budgets.items() for key, value in given.items())
