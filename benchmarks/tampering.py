"""A hundred ways to tamper with an erased and audited checkpoint; `space verify` must find each.

    python -m benchmarks.tampering

Edits the bundled checkpoint, audits it, and then changes one thing at a time: one bit of one shard, one figure or
input of the audit, one line of the ledger where there is one. Writes `docs/benchmarks/tampering.json` and
`tampering.md`. With `--workspace .space` the folders of a real chain are tampered with, such as those of `space demo`.
"""

import argparse
import contextlib
import io
import json
import math
import random
import shutil
import sys
import tempfile
import time

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.concepts import development_concepts
from benchmarks.tables import commit, machine
from space_cli import __version__
from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.cli.app import run
from space_cli.core.protocols import Silent
from space_cli.core.recipe import AuditRequest, Concept, EraseRequest
from space_cli.core.records import ErasureReceipt, LayerReceipt
from space_cli.core.types import Edit
from space_cli.io.artifact import file_records, new_artifact, source_of
from space_cli.io.checkpoint import open_checkpoint, write_edited
from space_cli.io.edits import EDITS, write_edits
from space_cli.io.families import family_of
from space_cli.stages.audit import audit as measure_erasure

OUT = Path("docs/benchmarks")
TRIES = 100
ALTERED = 4
"""Exit code of an altered artifact."""
LEDGER = "space/ledger.jsonl"
FIGURES = ("before", "after", "low", "high", "control")
Tamper = Callable[[random.Random], str]
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything and write the tables; 1 where something was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path, help="Tamper with what is erased and audited there; it is put back")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        given = options.workspace
        erased, audit = (given / "erased", given / "audit") if given else _prepare(Path(folder))
        result = measure(erased, audit, options.tries, options.seed)
    result |= {
        "machine": machine(),
        "commit": commit(),
        "command": " ".join(("python -m benchmarks.tampering", *(sys.argv[1:] if arguments is None else arguments))),
    }
    (options.out / "tampering.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "tampering.md").write_text(page(result), encoding="utf-8")
    sys.stdout.write(page(result))
    return int(result["found"] < result["tried"])


def measure(erased: Path, audit: Path, tries: int, seed: int) -> Row:
    """Tamper, verify and put back, again and again; kinds take turns.

    Args:
        erased: A finished erased folder.
        audit: A finished audit of it.
        tries: How many in all.
        seed: Draws what is changed.

    Returns:
        `tried`, `found`, and per kind how many of how many, by which checks.

    Raises:
        RuntimeError: The folders do not verify when nothing was changed, so that finding something shows nothing.
    """
    kinds = {kind: tamper for kind, tamper in kinds_of(erased, audit).items() if tamper}
    absent = [kind for kind, tamper in kinds_of(erased, audit).items() if not tamper]
    _require_whole(audit)
    started = time.monotonic()
    rows: list[Row] = []
    for number in range(tries):
        kind = list(kinds)[number % len(kinds)]
        with _restored(erased, audit):
            what = kinds[kind](random.Random(f"{seed}/{number}"))
            code, failed = _verify(audit)
        rows.append({"try": number, "kind": kind, "what": what, "exit_code": code, "checks": failed})
    _require_whole(audit)
    found = [row for row in rows if row["exit_code"] == ALTERED]
    return {
        "tried": len(rows),
        "found": len(found),
        "kinds": {kind: _summary([row for row in rows if row["kind"] == kind]) for kind in kinds},
        "not_there": absent,
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
    }


def kinds_of(erased: Path, audit: Path) -> dict[str, Tamper | None]:
    """Return every kind of tampering, each a function that does it; None where there is nothing to tamper with."""
    ledger = erased / LEDGER
    return {
        "one bit of one shard": lambda dice: _flip(dice, sorted(erased.glob("*.safetensors"))),
        "one edited score": lambda dice: _edit(dice, audit / "space.json"),
        "one input of the audit, removed or renamed": lambda dice: _unlink(dice, audit / "space.json"),
        "one removed ledger line": (lambda dice: _remove(dice, ledger)) if ledger.is_file() else None,
    }


def page(result: Row) -> str:
    """Return the table as Markdown."""
    rows = [
        f"| {kind} | {told['found']} of {told['tried']} | {told['distinct']} | "
        f"{', '.join(f'`{name}`' for name in told['checks'])} |"
        for kind, told in result["kinds"].items()
    ]
    absent = "".join(f"Not tried, because there is none: {kind}.\n\n" for kind in result["not_there"])
    return (
        "# Tampering\n\n"
        f"{result['found']} of {result['tried']} changes were found by `space verify`, exit code {ALTERED}.\n"
        "One thing is changed at a time, verified, and put back; the folders verify before and after.\n\n"
        "| change | found | of these distinct | by the checks |\n|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        f"{absent}`{result['command']}`, commit `{result['commit']}`, {result['seconds']:.0f} s for the tries on "
        f"{result['machine']['cores']} cores.\nEvery try stands in `tampering.json`.\n\n"
        "This is tampering by somebody who does not rewrite everything that depends on what was changed.\n"
        "Against one who does helps a [signature](../commands/sign.md).\n"
    )


def _prepare(place: Path) -> tuple[Path, Path]:
    """Write an erased folder and its audit: the bundled checkpoint with a small change of one layer.

    No method chose the change. What is tampered with and how it is found is the same for every erasure, and a real
    one takes minutes; `--workspace` takes one.
    """
    base, erased, audit = place / "base", place / "erased", place / "audit"
    shutil.copytree(checkpoint_folder(), base)
    family, checkpoint = family_of(base), open_checkpoint(base)
    layer = family.layers("mlp")[0]
    name = family.parameter(layer, checkpoint.parameters)
    rows, columns = checkpoint.parameters[name].shape
    make = torch.Generator().manual_seed(0)
    edit = Edit(layer, 1e-3 * torch.randn(rows, 1, generator=make), torch.randn(1, columns, generator=make))
    concept = Concept(name=development_concepts()[0].name)
    with new_artifact(erased, "tampering", overwrite=False) as draft:
        write_edited(checkpoint, {name: edit.delta}, draft.path)
        write_edits(draft.path / EDITS, [edit])
        record = ErasureReceipt(
            space_version=__version__,
            seed=0,
            inputs=[source_of(base, "checkpoint")],
            files=draft.files(),
            run=draft.run(),
            request=EraseRequest(concept=concept, model=str(base), anchors=str(place)),
            dtype=checkpoint.parameters[name].dtype,
            layers=[_layer(layer, name)],
            steps=0,
            stopped="made for a benchmark of `space verify`",
            signals={},
            base_files=file_records(base),
        )
        draft.finish(record)
    request = AuditRequest(erased=str(erased), metrics=("text_knowledge", "fluency", "retain_kl"), device="cpu")
    measure_erasure(request, audit, progress=Silent())
    return erased, audit


def _layer(layer: str, parameter: str) -> LayerReceipt:
    none = {"relative_change": 0.0, "leak": 0.0, "leak_rounded": 0.0, "retained_energy": 0.0}
    return LayerReceipt(layer=layer, parameter=parameter, rank=1, **none)


def _verify(folder: Path) -> tuple[int, list[str]]:
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(io.StringIO()):
        code = run(["verify", str(folder), "--json"])
    told = json.loads(heard.getvalue())
    return code, [check["name"] for check in told.get("checks", []) if not check["passed"]]


def _require_whole(audit: Path) -> None:
    code, failed = _verify(audit)
    if code:
        raise RuntimeError(f"the folders do not verify before anything is changed: {failed}")


@contextlib.contextmanager
def _restored(*folders: Path) -> Generator[None]:
    """Put back what is changed inside the block."""
    kept = {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}
    try:
        yield
    finally:
        for path, content in kept.items():
            if path.read_bytes() != content:
                path.write_bytes(content)


def _flip(dice: random.Random, shards: Sequence[Path]) -> str:
    path = dice.choice(shards)
    content = bytearray(path.read_bytes())
    place, bit = dice.randrange(len(content)), dice.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place} of {path.name}"


def _edit(dice: random.Random, path: Path) -> str:
    """Change a figure by as little as a number can, by a little, or altogether."""
    record = json.loads(path.read_text(encoding="utf-8"))
    name = dice.choice(sorted(record["scores"]))
    score = record["scores"][name]
    key = dice.choice([key for key in FIGURES if score[key] is not None])
    old = score[key]
    new = dice.choice([math.nextafter(old, math.inf), old * 1.01 + 0.001, old - 1.0])
    score[key] = new
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return f"{key} of {name}: {old!r} → {new!r}"


def _unlink(dice: random.Random, path: Path) -> str:
    """Take an input out of the record, or call it another kind, so that nobody walks back along it."""
    record = json.loads(path.read_text(encoding="utf-8"))
    number = dice.randrange(len(record["inputs"]))
    kind = record["inputs"][number]["kind"]
    other = dice.choice([None, *sorted({"baseline", "images", "pool"} - {kind})])
    if other is None:
        del record["inputs"][number]
    else:
        record["inputs"][number]["kind"] = other
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return f"input {number + 1}, {kind} → {other or 'removed'}"


def _remove(dice: random.Random, path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    number = dice.randrange(len(lines))
    path.write_text("".join(lines[:number] + lines[number + 1 :]), encoding="utf-8")
    return f"line {number + 1} of {len(lines)}"


def _summary(rows: Sequence[Row]) -> Row:
    found = [row for row in rows if row["exit_code"] == ALTERED]
    checks = Counter(name for row in found for name in row["checks"])
    distinct = len({row["what"] for row in rows})
    return {"tried": len(rows), "distinct": distinct, "found": len(found), "checks": dict(checks.most_common())}


if __name__ == "__main__":
    sys.exit(main())
