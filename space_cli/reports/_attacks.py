"""What attacks achieved, in one sentence of plain words."""

from collections.abc import Mapping

from space_cli.core import registry
from space_cli.core.attacking import ANY_TRY, ANY_TRY_CONTROL, PREFIX
from space_cli.core.records import ScoreRecord
from space_cli.reports._words import figure_text

MARGIN = 1e-12
"""Of a share: figures that differ by less are the same, computed in another order."""


def attacks_said(scores: Mapping[str, ScoreRecord]) -> str:
    """Say how many attacks did better than their control, which ones, and with what figures.

    An attack with several scores counts once, by the one that is furthest above. Its control is the larger of what the
    same attack achieves where there is nothing to find and what the checkpoint says without it. Of one that makes
    several tries at a picture, the pictures that any of them wins count where they are further above.

    Args:
        scores: Of an audit, by name.

    Returns:
        Plain text without any foreign word; empty where no attack was tried.
    """
    tried = {name: found for name in registry.names("attacks") if (found := _scores_of(name, scores))}
    if not tried:
        return ""
    worst = {name: max(found, key=_excess) for name, found in tried.items()}
    won = [f"{name} ({_figures(score)})" for name, score in worst.items() if _excess(score) > MARGIN]
    blind = [name for name, found in tried.items() if any(_floor(score) is None for score in found)]
    count = "Of 1 attack tried" if len(tried) == 1 else f"Of {len(tried)} attacks tried"
    if won:
        rest = "" if len(won) == len(tried) else "; the others did not"
        told = f"{count}, {len(won)} did better than {_its(won)} control: {', '.join(won)}{rest}."
    else:
        told = f"{count}, none did better than its control."
    return told + (f" Without a control to compare with: {', '.join(blind)}." if blind else "")


def _its(won: list[str]) -> str:
    return "its" if len(won) == 1 else "their"


def _scores_of(attack: str, scores: Mapping[str, ScoreRecord]) -> list[ScoreRecord]:
    stem = PREFIX + attack.replace("-", "_")
    return [one for name, one in scores.items() if f"{name}_".startswith(f"{stem}_") and one.after is not None]


def _floor(score: ScoreRecord) -> float | None:
    return max((value for value in (score.control, score.unattacked) if value is not None), default=None)


def _excess(score: ScoreRecord) -> float:
    """Return what is above the control, and all of it where there is none; by the mean or by any try."""
    return max(_mean_excess(score), _any_excess(score))


def _mean_excess(score: ScoreRecord) -> float:
    return (score.compared or 0.0) - (_floor(score) or 0.0)


def _any_excess(score: ScoreRecord) -> float:
    return score.parts.get(ANY_TRY, 0.0) - score.parts.get(ANY_TRY_CONTROL, 0.0)


def _figures(score: ScoreRecord) -> str:
    if _any_excess(score) > max(_mean_excess(score), 0.0):
        won, beside = (figure_text(score.parts.get(part, 0.0), score.unit) for part in (ANY_TRY, ANY_TRY_CONTROL))
        return f"at least one try on {won} of the pictures, against {beside}"
    floor = _floor(score)
    beside = "" if floor is None else f" against {figure_text(floor, score.unit)}"
    return f"{figure_text(score.compared, score.unit)}{beside}"
