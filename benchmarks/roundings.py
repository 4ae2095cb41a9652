"""What rounding to 4 bits costs of other names, before erasing and after it, over many roundings of the same error.

    python -m benchmarks.roundings --subject caltech=./zoo/caltech

The attack `quantize` rounds once, groups of inputs in their order. How many of some hundred names that costs is chance
to a point or so, in the erased checkpoint and in its base, whose own loss ours is held against. Here inputs are put
into groups in other orders as well, the same for both. Dev concepts. Writes `docs/benchmarks/roundings.md`; rows are
kept in `roundings.rows.jsonl` and not computed twice.
"""

import argparse
import os
import statistics
import sys

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from torch import Tensor

from benchmarks.intervals import Share
from benchmarks.league.bench import opened
from benchmarks.league.cells import CACHE, Measures, circumstances, named, prepared
from benchmarks.league.entries import Entry, entries
from benchmarks.league.page import current
from benchmarks.league.running import Runner, every
from benchmarks.league.subjects import DEVELOPMENTS, Job, open_subjects
from benchmarks.tables import Row, commit, figure, machine, origin, read_rows, with_spread
from space_cli.core.asking import named_rightly, spread
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.quantizing import Rounding, quantized, rtn4
from space_cli.core.types import Probe

OUT = Path("docs/benchmarks")
STORE = "roundings.rows.jsonl"
DRAWS = 8
"""Orders of inputs beside the usual one."""
IMAGES = 480
"""As many as `quantize` asks about."""
Names = Mapping[str, list[float]]
"""Share of images named rightly: of the weights as they are, rounded in order, and rounded in each other order."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the missing rows and write the page; 1 where a row could not be computed."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    runner = Runner(options.out / STORE, Measures(), frozenset(), compute)
    for subject in open_subjects(options.subject or [], options.data, options.pool):
        jobs = [Job(subject, concept, 0) for concept in subject.developments[: options.concepts]]
        runner.run(every([entries()["dcsi"]], jobs))
    rows = current(read_rows(options.out / STORE))
    (options.out / "roundings.md").write_text("\n".join(page(rows)) + "\n", encoding="utf-8")
    return 1 if runner.failures else 0


def compute(entry: Entry, job: Job, _: Measures) -> Row:
    """Compute one row.

    Raises:
        CellFailure: Nothing was erased.
    """
    load = os.getloadavg()[0]
    with opened(entry, job) as (before, after, probe):
        names = {"base": names_of(before, probe), "erased": names_of(after, probe)}
    told = {"verdict": "measured", "scores": {}, "seconds": {}, "names": names}
    made = circumstances(prepared(job, CACHE) / "select", load=load, threads=torch.get_num_threads())
    return named(entry, job) | told | made


def names_of(responder: Responder, probe: Probe) -> Names:
    """Ask about other concepts with the weights as they are and rounded in each way."""
    shown = spread(probe.retain, IMAGES)

    def share() -> float:
        return statistics.mean(named_rightly(responder, shown, AUDIT_OPEN[:1], probe))

    def rounded(how: Rounding) -> float:
        with quantized(responder.model, how):
            return share()

    return {"whole": [share()], "order": [rounded(rtn4)], "draws": [rounded(shuffled(one)) for one in range(DRAWS)]}


def shuffled(seed: int) -> Rounding:
    """Return the rounding to 4 bits whose groups hold other inputs.

    Example:
        >>> weight = torch.arange(512.0).reshape(2, 256)
        >>> bool((shuffled(0)(weight) - weight).abs().max() < 512 / 15)
        True
    """

    def rounding(weight: Tensor) -> Tensor:
        order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(seed)).to(weight.device)
        found = torch.empty_like(weight)
        found[:, order] = rtn4(weight[:, order])
        return found

    return rounding


def figures(base: Names, erased: Names) -> dict[str, float]:
    """Return the rows of the page for one concept."""
    (whole, order), (whole_erased, order_erased) = ((one["whole"][0], one["order"][0]) for one in (base, erased))
    rounded, rounded_erased = (statistics.mean(one["draws"]) for one in (base, erased))
    lost, lost_erased = whole - rounded, whole_erased - rounded_erased
    return {
        "base, as it is": Share(whole),
        "erased, as it is": Share(whole_erased),
        "base, rounded": Share(rounded),
        "erased, rounded": Share(rounded_erased),
        "base, lost": lost,
        "erased, lost": lost_erased,
        "erased loses more by": lost_erased - lost,
        "the same, groups in order alone": (whole_erased - order_erased) - (whole - order),
        "rounded, erased minus base": rounded_erased - rounded,
        "deviation of one rounding, base": statistics.stdev(base["draws"]),
    }


def page(rows: Sequence[Row]) -> list[str]:
    """Return the lines of `roundings.md`."""
    lines = ["# What rounding costs of other names", ""]
    if not rows:
        return [*lines, "Nothing is measured yet."]
    how = {"command": "python -m benchmarks.roundings", "commit": commit(), "machine": machine(), "rows": rows}
    concepts = ", ".join(f"{row['concept']} ({row['subject']})" for row in rows)
    found = [figures(row["names"]["base"], row["names"]["erased"]) for row in rows]
    return [
        *lines,
        origin(how),
        "",
        f"Share of {IMAGES} images at most of other concepts that are named rightly. Rounded: to 4 bits, mean of "
        f"{DRAWS} orders in which inputs are put into groups. Means over dev concepts with 95 % intervals: "
        f"{concepts}.",
        "",
        "| figure | mean (95 %) |",
        "|---|---|",
        *(f"| {name} | {with_spread(figure(name, [[one[name]] for one in found]), '.4f')} |" for name in found[0]),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roundings", description=__doc__.splitlines()[0])
    parser.add_argument("--subject", action="append", help="`bundled`, or NAME=FOLDER of the zoo; repeatable")
    parser.add_argument("--data", action="append", default=[], help="NAME=FOLDER: the subject's photographs, if moved")
    parser.add_argument("--pool", action="append", default=[], type=Path, help="Further photographs for every pool")
    parser.add_argument("--concepts", type=int, default=DEVELOPMENTS, help="Dev concepts")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser


if __name__ == "__main__":
    sys.exit(main())
