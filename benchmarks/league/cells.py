"""One erasure and its audit by the commands themselves, on anchors that every entry shares."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from benchmarks.league.entries import UNLIMITED, Entry
from benchmarks.league.subjects import PUBLIC, Job
from benchmarks.league.versions import options_of
from benchmarks.tables import Row, commit, machine, outcome, refusal

CACHE = Path("build/league")
REFUSED = 3
UNKNOWN = "does not seem to know"
BRIEF = ("forget_accuracy", "forget_choice_accuracy", "retain_accuracy", "neighbour_accuracy")
"""What the harmonic mean is made of; a search needs no more."""
QUICK = (*BRIEF, "generality", "specificity", "text_knowledge", "retain_kl")
WHOLE = (*QUICK, "worst_neighbour", "forget_yes_rate", "kind_accuracy", "efficacy", "fluency", "diversity", "c_dis")

SOURCE_FREE = ("elicitation",)
"""Asked of our method's erasures: it takes as long as all others, and what it predicts is told of ours alone."""


class CellFailure(Exception):
    """A command ended otherwise than done or refused: the cell has no row and is tried again next time."""


@dataclass(frozen=True)
class Measures:
    """What is asked after an erasure."""

    metrics: tuple[str, ...] = WHOLE  # those that run by default if empty
    bands: bool = True  # in memory alone, as `space audit` has no such score
    limit: int | None = None  # pictures of a concept
    attacks: tuple[str, ...] = ()
    scores_only: bool = False  # in memory alone: without layers and source-free signals, and so without budgets


@dataclass(frozen=True)
class Ran:
    """What a process came to."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak_gb: float


def key_of(row: Row) -> str:
    """Return what names a cell; rows of one key are the same measurement."""
    fields = ("subject", "checkpoint", "method", "settings", "scope", "select", "concept", "seed")
    return json.dumps([row[name] for name in fields], sort_keys=True)


def named(entry: Entry, job: Job) -> Row:
    """Return the fields of a row that are known before it is computed."""
    return {
        "subject": job.subject.name,
        "checkpoint": job.subject.digest,
        "method": entry.name,
        "settings": dict(entry.settings),
        "options": options_of(entry),
        "scope": entry.scope,
        "select": list(entry.select),
        "concept": job.concept.name,
        "kind": job.concept.kind,
        "seed": job.seed,
    }


def compute(entry: Entry, job: Job, measures: Measures, cache: Path = CACHE) -> Row:
    """Compute one row.

    Raises:
        CellFailure: A command failed for another reason than a gate.
    """
    load = os.getloadavg()[0]
    place = prepared(job, cache)
    workspace, refused = selected(entry, job, place)
    found = refused or _erased(entry, job, place, workspace, measures)
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    return named(entry, job) | found | circumstances(workspace, load=load, threads=threads)


def circumstances(workspace: Path, *, load: float, threads: int) -> Row:
    """Return what a row says about how it came about."""
    return {
        # Seconds mean little without these three: the processor, other work on it, and threads of this run.
        "processor": machine()["processor"],
        "load_average": round(load, 2),
        "threads": threads,
        "commit": commit(),
        "insisted": _insisted(workspace),
        "public": len(_public(workspace.parent)),
    }


def _public(place: Path) -> list[Path]:
    """Return the photographs of no class in a job's pool."""
    return list((place / "images").glob(f"{PUBLIC}*"))


def _insisted(workspace: Path) -> bool:
    """Tell whether selecting took the concept for unknown at first."""
    record = workspace / "anchors" / "space.json"
    if not record.is_file():
        return False
    # Anchors that an earlier version left in the cache could not be insisted on, so nothing says so in them.
    return bool(json.loads(record.read_text("utf-8"))["request"].get("allow_unknown", False))


def prepared(job: Job, cache: Path) -> Path:
    """Return the folder with pictures and pool of a job, made where it is missing.

    Raises:
        CellFailure: It was made with another `--pool`, which no key of a row tells, or a command failed.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", job.concept.name.lower())
    place = (cache / f"{job.subject.name}-{job.subject.digest}" / f"{slug}-{job.seed}").absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if not place.is_dir():
            part = place.with_name(f"{place.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            job.subject.lay(job.concept, part, job.seed)
            part.rename(place)
        elif bool(_public(place)) != bool(job.subject.extra):
            raise CellFailure(f"`{place}` was made with another `--pool`: remove it, or give the same one")
        if not (place / "pool" / "space.json").is_file():
            words = [
                "index",
                str(place / "images"),
                "--encoder",
                str(job.subject.encoder),
                "--out",
                str(place / "pool"),
            ]
            _must(_space(*words, "--seed", str(job.seed)))
    return place


def run(words: Sequence[str]) -> Ran:
    """Run a command to its end and tell what it, and nothing else, cost."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(words, stdout=out, stderr=err)
        # wait4 tells the peak of this very child; RUSAGE_CHILDREN would tell the largest so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    # Linux counts kilobytes.
    return Ran(process.returncode, texts[0], texts[1], round(seconds, 3), round(usage.ru_maxrss / 1e6, 3))


def _space(*words: str) -> Ran:
    return run([sys.executable, "-m", "space_cli", *words, "--json"])


def _must(ran: Ran) -> Ran:
    if ran.code:
        last = " ".join(ran.stderr.strip().splitlines()[-2:])
        raise CellFailure(f"exit code {ran.code}: {last}")
    return ran


def _refusal(ran: Ran, stage: str) -> Row | None:
    """Return the fields of a refused row, or None where the command went through."""
    if ran.code != REFUSED:
        _must(ran)
        return None
    return refusal(ran.code, ran.stderr) | {"refused_by": stage, "seconds": {stage: ran.seconds}, "bands": {}}


def selected(entry: Entry, job: Job, place: Path) -> tuple[Path, Row | None]:
    """Select anchors once for all entries that ask alike.

    Returns:
        Where the anchors are, and what a refusal came to, which is remembered as well.
    """
    said = " ".join(entry.select)
    workspace = place / (f"select-{hashlib.sha256(said.encode()).hexdigest()[:8]}" if said else "select")
    return workspace, _refused(entry, job, place, workspace)


def _refused(entry: Entry, job: Job, place: Path, workspace: Path) -> Row | None:
    note = workspace / "refused.json"
    with FileLock(f"{workspace}.lock"):
        if note.is_file():
            kept: Row = json.loads(note.read_text("utf-8"))
            return kept
        if (workspace / "anchors" / "space.json").is_file():
            return None
        words = ["select", job.concept.name, *_said(job), "--model", str(job.subject.model)]
        words += ["--pool", str(place / "pool"), "--workspace", str(workspace), "--seed", str(job.seed)]
        ran = _space(*words, *entry.select)
        if ran.code == REFUSED and UNKNOWN in ran.stderr:
            # Concepts are drawn from those that photographs show to be known: a person would insist.
            ran = _space(*words, *entry.select, "--allow-unknown")
        refused = _refusal(ran, "select")
        if refused:
            workspace.mkdir(exist_ok=True)
            note.write_text(json.dumps(refused), encoding="utf-8")
        return refused


def _erased(entry: Entry, job: Job, place: Path, workspace: Path, measures: Measures) -> Row:
    with tempfile.TemporaryDirectory(dir=place) as made:
        erased = Path(made) / "erased"
        words = ["erase", "--concept", job.concept.name, *_said(job), "--model", str(job.subject.model)]
        words += ["--workspace", str(workspace), "--out", str(erased), "--seed", str(job.seed)]
        words += ["--method", entry.method, "--scope", entry.scope]
        words += [part for name, value in entry.settings.items() for part in ("--set", f"{name}={json.dumps(value)}")]
        words += ["--forget-images", str(place / "forget")] if entry.images else []
        ran = _space(*words, *(() if entry.limited else UNLIMITED))
        refused = _refusal(ran, "erase")
        if refused:
            return refused | {"peak_memory_gb": ran.peak_gb}
        told = _audited(job, place, workspace, erased, measures)
        receipt = json.loads((erased / "space.json").read_text("utf-8"))
        record = json.loads((erased.with_name("audit") / "space.json").read_text("utf-8")) if measures.attacks else {}
    spent = {"spent": record["seconds"]} if record else {}  # by metric and attack
    return outcome(told, receipt) | {"peak_memory_gb": ran.peak_gb, "bands": {}} | spent


def _audited(job: Job, place: Path, workspace: Path, erased: Path, measures: Measures) -> Row:
    words = ["audit", str(erased), "--images", str(place / "probe"), "--workspace", str(workspace)]
    words += ["--out", str(erased.with_name("audit")), "--seed", str(job.seed), "--exit-zero"]
    for flag, names in (("--metrics", measures.metrics), ("--attacks", measures.attacks)):
        words += [flag, ",".join(names)] if names else []
    words += ["--limit", str(measures.limit)] if measures.limit else []
    told: Row = json.loads(_must(_space(*words)).stdout)
    return told


def _said(job: Job) -> list[str]:
    concept = job.concept
    words = [("--phrase", concept.phrase), ("--kind", concept.kind)]
    return [part for flag, value in words if value for part in (flag, value)]
