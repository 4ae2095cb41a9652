"""Which audit a stored row is of: the budgets of its attacks, and how long an answer is read.

Both have changed since some rows were computed, and what an attack wins changes with them.
"""

from collections.abc import Iterable
from typing import Any

from benchmarks.tables import Row
from space_cli.core import registry
from space_cli.core.protocols import ANSWER_TOKENS

MARK = "‡"
"""Stands beside an entry some of whose rows are of an earlier audit."""
SAID = (
    f"{MARK} Of an earlier audit: the budgets of the attacks, or how long answers were read, are not today's, or were "
    "not stored."
)


def audit_of(attacks: Iterable[str]) -> dict[str, Any]:
    """Return what today's audit asks with, by attack, as JSON holds it."""
    options = {name: registry.load("attacks", name).Options().model_dump(mode="json") for name in attacks}
    return {"answer_tokens": ANSWER_TOKENS, "attacks": options}


def of_todays_audit(row: Row) -> bool:
    """Tell whether a row's attacks were made as today's would be."""
    return bool(row.get("audit") == audit_of(row["attacks"]))
