"""`space show`: any folder that `space` wrote, as tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from space_cli.cli import options
from space_cli.cli.render import Sheet, Terminal, duration, figure

if TYPE_CHECKING:
    from space_cli.core.records import (
        AnchorsManifest,
        AuditReport,
        ErasureReceipt,
        Manifest,
        PoolManifest,
        Record,
        ScoreRecord,
    )

NOTHING = figure(None)


def show(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A pool, anchors, erased or audit folder", show_default=False)
    ],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Show what a folder holds and how it came to be."""
    from space_cli.io.artifact import read_record

    terminal = Terminal(as_json=as_json, quiet=quiet)
    record = read_record(folder.expanduser().absolute())
    terminal.record(record.model_dump_json(), folder.absolute(), [*sheets(record), _origin(record)])


def sheets(record: "Record") -> list[Sheet]:
    """Return the tables of a record, by its kind."""
    drawers: dict[str, Callable[[Any], list[Sheet]]] = {
        "pool": _pool,
        "anchors": _anchors,
        "erased": _erased,
        "audit": _audit,
    }
    return drawers[record.kind](record)


def _pool(record: "PoolManifest") -> list[Sheet]:
    rows = [
        ("images", str(record.images)),
        ("duplicates", str(record.duplicates)),
        ("unreadable", str(record.errors)),
        ("embedding width", str(record.width)),
        ("encoder", record.request.encoder),
        ("sources", ", ".join(record.request.sources)),
    ]
    return [Sheet("pool", ("what", "value"), rows)]


def _anchors(record: "AnchorsManifest") -> list[Sheet]:
    rows = [
        ("concept", record.request.concept.name),
        ("aliases", ", ".join(record.request.concept.aliases) or "-"),
        ("model", record.request.model or "-"),
        *((f"{role} images", str(count)) for role, count in record.roles.items()),
        ("similarity floor", figure(record.floor)),
        ("top similarity", figure(record.top_similarity)),
        ("leaks kept out", str(record.leaks)),
        ("activation rate", figure(record.activation_rate, unit="share")),
    ]
    found = [Sheet("anchors", ("what", "value"), rows)]
    if record.leverage:
        layers = [
            (entry.layer, figure(entry.leverage, unit="share"), str(entry.free), str(entry.width))
            for entry in record.leverage
        ]
        found.append(Sheet("leverage", ("layer", "leverage", "free", "width"), layers, numeric=True))
    return found


def _erased(record: "ErasureReceipt") -> list[Sheet]:
    rows = [
        ("concept", record.request.concept.name),
        ("model", record.request.model),
        ("method", record.request.method),
        ("steps", str(record.steps)),
        ("stopped", record.stopped),
        *([("instruction", record.instruction)] if record.instruction else []),
        *((name, figure(value)) for name, value in record.signals.items()),
    ]
    if record.requests > 1:
        rows.append(("requests so far", str(record.requests)))
        rows.append(("retain budget spent", figure(record.spent, unit="share")))
    if record.used is not None:
        rows.append(("free directions used", figure(record.used, unit="share")))
    layers = [
        (
            layer.layer,
            str(layer.rank),
            figure(layer.relative_change, unit="share"),
            figure(layer.leak),
            figure(layer.leak_rounded),
            figure(layer.retained_energy, unit="share"),
        )
        for layer in record.layers
    ]
    columns = ("layer", "rank", "change", "leak", f"leak in {record.dtype}", "retained energy")
    return [Sheet("erased", ("what", "value"), rows), Sheet("layers", columns, layers, numeric=True)]


def _audit(record: "AuditReport") -> list[Sheet]:
    from space_cli.reports._words import difference_text

    columns: tuple[str, ...] = ("score", "before", "after", "95 % interval", "n", "better")
    rows = [_score(name, score) for name, score in record.scores.items()]
    beside = {
        "unattacked": [_figure(score, score.unattacked) for score in record.scores.values()],
        "control": [_figure(score, score.control) for score in record.scores.values()],
        "baseline": [_after(record.baseline.get(name)) for name in record.scores],
        "minus baseline": [difference_text(record.baseline.get(name)) or NOTHING for name in record.scores],
    }
    for column, cells in beside.items():
        if set(cells) - {NOTHING}:  # most audits attack nothing: a column of dashes would only narrow the others
            columns = (*columns, column)
            rows = [(*row, cell) for row, cell in zip(rows, cells, strict=True)]
    found = [Sheet(f"audit of `{record.concept.name}`", columns, rows, numeric=True)]
    gates = [(gate.score, gate.rule, gate.verdict, gate.reason) for gate in record.gates]
    if gates:
        found.append(Sheet(f"policy {record.policy}", ("score", "rule", "verdict", "reason"), gates))
    if record.skipped:
        found.append(Sheet("not measured", ("metric", "why"), list(record.skipped.items())))
    return found


def _score(name: str, score: "ScoreRecord") -> tuple[str, ...]:
    ends = [figure(end, unit=score.unit) for end in (score.low, score.high)]
    interval = "-" if score.low is None or score.high is None else " to ".join(ends)
    before, after = (figure(value, unit=score.unit) for value in (score.before, score.after))
    spoken = name if score.unit == "share" else f"{name} ({score.unit})"
    return spoken, before, after, interval, str(score.n), score.better


def _figure(score: "ScoreRecord", value: float | None) -> str:
    return figure(value, unit=score.unit)


def _after(score: "ScoreRecord | None") -> str:
    return NOTHING if score is None else _figure(score, score.after)


def _origin(record: "Manifest") -> Sheet:
    rows = [
        ("written", f"{record.run.created} by space {record.space_version}"),
        ("took", duration(record.run.seconds)),
        ("seed", str(record.seed)),
        *((f"input {source.kind}", f"{source.path} ({source.sha256[:12]}…)") for source in record.inputs),
        ("files", f"{len(record.files)}, {sum(file.bytes for file in record.files):,} bytes"),
    ]
    return Sheet("origin", ("what", "value"), rows)
