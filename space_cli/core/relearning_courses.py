"""What a checkpoint relearns at several rates, and the scores at the one where it is farthest ahead of its control."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from space_cli.core.attacking import mean, with_unattacked
from space_cli.core.records import ScoreRecord
from space_cli.core.relearning import area
from space_cli.core.stats import score

AREA = "_area"
"""After the name of a score: of its curve, the mean height over the steps. Every name is taught in the end, so how soon
tells more than how far."""
Curve = list[list[float]]
"""At each stop, 1 for each answer that gives the sought name, else 0."""
Learning = Callable[[float], Curve]
"""Rate -> what is learnt at it."""
Figure = Callable[[Curve], list[float]]
"""Of a curve, one value for each answer."""


@dataclass(frozen=True)
class Courses:
    """How the courses were run, and how they are told.

    Args:
        rates: Of learning, each on its own.
        stops: Steps after which the checkpoint was asked, ascending, beginning with 0.
        questions: About each image.
        seed: Of the intervals.
        note: What was done.
    """

    rates: tuple[float, ...]
    stops: tuple[int, ...]
    questions: int
    seed: int
    note: str

    def records(self, old: Learning, new: Learning, control: Learning | None) -> dict[str, ScoreRecord]:
        """Return the success after the last step, and that of the whole course, each at the rate that wins most.

        Args:
            old: What the checkpoint before erasing learns; asked for at the rates that count alone.
            new: What the erased one learns.
            control: What it learns where there is nothing to find again; None without any.
        """
        runs = {rate: (new(rate), control(rate) if control else None) for rate in self.rates}
        before = cache(old)

        def of(figure: Figure) -> tuple[float, ScoreRecord]:
            rate = max(runs, key=lambda one: (ahead(*runs[one], figure), one))
            return rate, self._record(before(rate), *runs[rate], figure, self._note(runs, rate))

        (last_rate, last), (area_rate, whole) = of(lambda curve: curve[-1]), of(self._areas)
        # Whoever reads of the area has the curves beside the last step, if they are the same ones.
        curves = {} if area_rate == last_rate else whole.curves
        told = {"curves": curves, "note": f"area under the curve of these steps; {whole.note}"}
        return {"": last, AREA: whole.model_copy(update=told)}

    def _areas(self, curve: Curve) -> list[float]:
        return [area(self.stops, values) for values in zip(*curve, strict=True)]

    def _record(self, old: Curve, new: Curve, control: Curve | None, figure: Figure, note: str) -> ScoreRecord:
        after = figure(new)
        found = score(
            figure(old),
            after,
            better="lower",
            groups=[row // self.questions for row in range(len(after))],
            seed=self.seed,
            control=mean(figure(control)) if control else None,
            note=note,
        )
        courses = {"before": old, "after": new} | ({"control": control} if control else {})
        stops = [float(stop) for stop in self.stops]
        curves = {key: list(zip(stops, heights(course), strict=True)) for key, course in courses.items()}
        return with_unattacked(found.model_copy(update={"curves": curves}), heights(new)[0])

    def _note(self, runs: dict[float, tuple[Curve, Curve | None]], taken: float) -> str:
        def told(curve: Curve) -> str:
            every = zip(self.stops, heights(curve), strict=True)
            return ", ".join(f"{stop} steps {height:.2f}" for stop, height in every)

        beside = [f", control {told(control)}" if control else "" for _, control in runs.values()]
        courses = [f"at {rate:g} {told(new)}{end}" for (rate, (new, _)), end in zip(runs.items(), beside, strict=True)]
        ahead_of = "farthest ahead of its control" if any(beside) else "highest"
        which = f", at which it is {ahead_of}" if len(runs) > 1 else ""
        return "; ".join((f"lr {taken:g}{which}", *courses, self.note))


def ahead(new: Curve, control: Curve | None, figure: Figure) -> float:
    """Return how far a figure of a curve stands above that of its control."""
    return (mean(figure(new)) or 0.0) - ((mean(figure(control)) or 0.0) if control else 0.0)


def heights(curve: Curve) -> list[float]:
    """Return the share of answers that give the name, at each stop."""
    return [mean(values) or 0.0 for values in curve]
