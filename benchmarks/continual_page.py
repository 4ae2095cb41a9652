"""The page of `benchmarks.continual`."""

from typing import Any

from benchmarks.tables import commits_of, listed, made


def page(result: dict[str, Any]) -> str:
    """Return the Markdown of a result."""
    points, curves, rows = result["curves"]["points"], result["curves"], result["rows"]
    lines = [
        f"# {len(points)} requests in a row",
        "",
        f"{made(result)}{_computed(rows)}.",
        "",
        "Each request erases one more concept of the bundled checkpoint from what the request before left. No concept "
        "is a test concept, the pool shows none of them, and every share is of answers about pictures that no erasure "
        "saw. What the columns mean is told in [continual requests](../concepts/continual.md).",
        "",
        "![Forgetting, history, rebound, retention and used directions by request](continual.png)",
        "",
        *_last(points, curves),
        "",
        "| request | concept | before | forget | history | rebound | relative retain accuracy | directions used |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(point) for point in points]
    lines += ["", *_matrix(points, rows)]
    return "\n".join(lines) + "\n"


def _computed(rows: list[dict[str, Any]]) -> str:
    """Say at which commits rows were computed; those of before this was kept do not tell."""
    told = commits_of(row for row in rows if "commit" in row)
    return f"; rows computed at {listed(told)}" if told else ""


def _last(points: list[dict[str, Any]], curves: dict[str, Any]) -> list[str]:
    refused = [point["concept"] for point in points if point["refused"]]
    told = [
        f"After the last request: history {_share(points[-1]['history'])}, rebound {_share(points[-1]['rebound'])}, "
        f"relative retain accuracy {_share(points[-1]['retained'])}. That changes by {100 * curves['slope']:+.2f} "
        f"points a request, and fell by {100 * curves['worst_drop']:.1f} points at most in one."
    ]
    return told + ([f"Refused, and so still known: {', '.join(refused)}."] if refused else [])


def _row(point: dict[str, Any]) -> str:
    shares = [point[name] for name in ("before", "forget", "history", "rebound", "retained", "used")]
    name = f"{point['concept']} (refused)" if point["refused"] else point["concept"]
    return f"| {point['request']} | {name} | " + " | ".join(_share(share) for share in shares) + " |"


def _matrix(points: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[str]:
    """Return F[t, j] in per cent: a row a request, a column a concept, by its number."""
    names = [point["concept"] for point in points]
    lines = [
        "Share of answers that name concept j after request t, in per cent:",
        "",
        "| t \\ j | " + " | ".join(str(point["request"]) for point in points) + " |",
        "|---" * (len(points) + 1) + "|",
    ]
    for row in rows:
        cells = [f"{100 * row['named'][name]:.0f}" if name in row["named"] else "" for name in names]
        lines.append(f"| {row['request']} | " + " | ".join(cells) + " |")
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
