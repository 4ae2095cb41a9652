"""`gpu.md`: the results as a person reads them."""

from collections.abc import Mapping

from benchmarks.tables import Row

STEPS = {
    "build": "draw and write the checkpoint, the encoder and the pictures",
    "index": "`index`: the encoder loaded, every picture embedded, the pool written",
    "write": "write an edited copy of the checkpoint",
    "subject": "load the checkpoint, read the anchors, ask about them",
    "basis": "safe basis of every edited layer, from the moments of retained keys",
    "erase": "one erasure with `dcsi`",
}
"""In the order in which they are measured."""
UNMEASURED = (
    "`select` and `audit` at the large shape: random weights know no concept, so `select` refuses them by design",
    "whether anything is forgotten at the large shape: its figures are costs, not results",
    "device memory of the demo, which runs in a process of its own",
    "the same large shape on a CPU, which would take hours",
    "more than one GPU, and quantised weights",
)


def page(found: Row) -> str:
    """Return the page of what has been measured so far."""
    lines = [
        "# On a GPU",
        "",
        "## The bundled checkpoint",
        "",
        *_origin(found["heads"].get("bundled")),
        *_demo(found["bundled"], found["bundled_ratio"]),
        *_steps(found),
        "## Not measured",
        "",
        *(f"- {one}" for one in (*_missing(found), *UNMEASURED)),
    ]
    return "\n".join(lines) + "\n"


def _origin(head: Row | None) -> list[str]:
    """Return which run measured a part; nothing where none did."""
    if head is None:
        return []
    on = head["machine"]
    where = f"{on['device']}, {on['cores']} cores ({on['processor']}), {on['ram_gb']} GB of RAM, torch {on['torch']}"
    if "driver" in on:
        where += f", CUDA {on['cuda']}, driver {on['driver']}, {on['device_gb']} GB on the device"
    return [f"`{head['command']}` at commit `{head['commit']}`, on {where}.", ""]


def _demo(rows: Mapping[str, Row], ratio: Mapping[str, float]) -> list[str]:
    done = {device: row for device, row in rows.items() if row["finished"]}
    lines = [
        f"`space demo --device {device}` ended with exit code {row['exit_code']}: {row['message']}\n"
        for device, row in rows.items()
        if not row["finished"]
    ]
    if not done:
        return [*lines, "Not measured yet.", ""]
    lines += [
        "`space demo` on each device, in a process of its own; on a GPU in the precision that the checkpoint is stored "
        "in (float16), on a CPU in float32.",
        "",
        f"| seconds | {' | '.join(done)} | CPU / GPU |",
        f"|---|{'---|' * len(done)}---|",
    ]
    stages = next(iter(done.values()))["seconds"]
    for stage in stages:
        cells = " | ".join(f"{row['seconds'].get(stage, float('nan')):.1f}" for row in done.values())
        lines.append(f"| {stage} | {cells} | {ratio.get(stage, '')} |")
    lines.append(f"| whole process | {' | '.join(str(row['wall_seconds']) for row in done.values())} | |")
    lines.append(f"| peak resident, GB | {' | '.join(str(row['peak_resident_gb']) for row in done.values())} | |")
    lines += ["", f"| score, before → after | {' | '.join(done)} |", f"|---|{'---|' * len(done)}"]
    names = dict.fromkeys(name for row in done.values() for name in row["scores"])
    lines += [f"| {name} | {' | '.join(_score(row['scores'].get(name)) for row in done.values())} |" for name in names]
    lines.append(f"| verdict | {' | '.join(row['verdict'] for row in done.values())} |")
    return [*lines, ""]


def _score(score: Row | None) -> str:
    if score is None or score["after"] is None:
        return "–"
    before = "–" if score["before"] is None else f"{score['before']:.3f}"
    return f"{before} → {score['after']:.3f}"


def _steps(found: Row) -> list[str]:
    rows = found["shape_steps"]
    lines = [f"## The shape {found['shape']}", "", *_origin(found["heads"].get("shape"))]
    if not rows:
        return [*lines, "Not measured yet.", ""]
    lines += [
        "Made from the config alone, with random bfloat16 weights: speed and memory are real, answers mean nothing. "
        "GB are 10⁹ bytes; on the device what torch had given out, resident what the process held in RAM, mapped files "
        "among it. The first step on a device pays for its start.",
        "",
        "| step | seconds | peak on the device, GB | peak resident, GB | |",
        "|---|---|---|---|---|",
    ]
    for name, text in STEPS.items():
        if name in rows:
            row = rows[name]
            device = "–" if row.get("peak_device_gb") is None else row["peak_device_gb"]
            lines.append(
                f"| {text} | {row.get('seconds', '–')} | {device} | {row.get('peak_resident_gb', '–')} | {_rest(row)} |"
            )
    return [*lines, "", *_notes(rows), ""]


def _rest(row: Row) -> str:
    """Return the other figures of a step."""
    columns = {"seconds", "peak_device_gb", "peak_resident_gb"}
    left = [key for key in row if key not in columns and row[key] is not None]
    return ", ".join(f"{key.replace('_', ' ')} {row[key]}" for key in left)


def _notes(rows: Mapping[str, Row]) -> list[str]:
    lines = [
        "Random weights made these stand-ins necessary:",
        "",
        "- the images have their roles in pool order, since `select` would refuse the checkpoint;",
        "- the retained questions answered with yes are given that answer, since random weights affirm nothing;",
        "- the stop rule looks twice, half-way and at the end, and not every five steps: what names nothing is "
        "forgotten already, and the erasure would end at its second look;",
        "- the change that is written was drawn at random: writing costs the same whatever it holds.",
        "",
        "Answers may have 24 tokens; the mean length of the random ones stands in the table.",
    ]
    erased = rows.get("erase", {})
    if "kept_gb_a_row" in erased:
        lines += [
            "",
            f"The backward pass keeps {erased['kept_gb_a_row']} GB of each image row. `erase` differentiates one term "
            "after the other; what is hardened or retained, in parts of as many rows as a quarter of the device's "
            f"memory should hold: {erased['rows_at_once']} here.",
        ]
    return lines


def _beside(rows: Mapping[str, Row]) -> list[str]:
    """Return the device that one lone row should be compared with."""
    return [] if len(rows) != 1 else ["cuda" if "cpu" in rows else "cpu"]


def _missing(found: Row) -> list[str]:
    lines = [
        f"the demo on a {'CPU' if device == 'cpu' else 'GPU'} beside it: not reached"
        for device in _beside(found["bundled"])
    ]
    lines += [f"{text}: not reached" for name, text in STEPS.items() if name not in found["shape_steps"]]
    erased = found["shape_steps"].get("erase", {})
    if not erased.get("finished", True):
        stopped = erased.get("stopped", "the run was killed; its last figures stand above")
        lines.append(f"the whole erasure: {erased['steps']} steps were done ({stopped})")
    return lines
