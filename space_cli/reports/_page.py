"""The frame of an HTML report: one file, no external resource, readable in print, dark, or without colour."""

import base64
import html
import io

from PIL import Image

THUMBNAIL = 176  # pixels of the longer side; drawn at half of it, so that print stays sharp
QUALITY = 82  # JPEG; under 80 flat colours show blocks

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfcf9; --ink: #1d1c1a; --soft: #5f5b54; --line: #d9d4ca; --wash: #f3f0e9;
  --after: #2f5d73; --pass: #2c6a45; --fail: #a3352a; --inconclusive: #8a6210;
  --sans: system-ui, "Segoe UI", Roboto, sans-serif;
}
@media (prefers-color-scheme: dark) { :root {
  --paper: #191b1d; --ink: #ece9e2; --soft: #a8a49b; --line: #3b3d40; --wash: #232628;
  --after: #7fb3cc; --pass: #7cc49a; --fail: #ee8b80; --inconclusive: #dfb65a;
} }
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 "Source Serif 4", Charter, "Iowan Old Style", Georgia, serif;
}
main, header, footer { max-width: 60rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3.2rem; }
footer { padding-top: 2rem; padding-bottom: 3rem; }
h1 { margin: .2rem 0 .3rem; font-size: 2.5rem; line-height: 1.15; font-weight: 600; letter-spacing: -.01em; }
h2 { margin: 3rem 0 .8rem; padding-top: .9rem; border-top: 1px solid var(--line); font-size: 1.35rem; }
h2, h3, figcaption strong { font-weight: 600; }
h3 { margin: 1.6rem 0 .6rem; font-size: 1rem; }
p { margin: .5rem 0; max-width: 44rem; }
small { font-size: .8rem; }
.over { columns: 21rem; margin: 0; padding: 0; list-style: none; font-size: .8rem; color: var(--soft); }
.over li { padding-left: 1.2em; text-indent: -1.2em; break-inside: avoid; }
.figure { white-space: nowrap; }
.soft, small { color: var(--soft); }
.code { font: .82em/1.5 ui-monospace, Menlo, Consolas, monospace; }
.kicker, th, .axis, .tag, figcaption dt, .legend, small { font-family: var(--sans); }
.kicker { margin: 0; font-size: .8rem; letter-spacing: .09em; text-transform: uppercase; color: var(--soft); }
.pass { --tone: var(--pass); }
.fail { --tone: var(--fail); }
.inconclusive { --tone: var(--inconclusive); }
.verdict {
  display: flex; gap: 1.2rem; align-items: flex-start; margin: 1.8rem 0 0; padding: 1.1rem 1.3rem;
  border: 1px solid var(--line); border-left: .5rem solid var(--tone); background: var(--wash);
}
.verdict .mark { flex: none; width: 3rem; height: 3rem; color: var(--tone); }
.verdict strong { display: block; font-size: 1.3rem; line-height: 1.3; }
.verdict ul { margin: .5rem 0 0; padding-left: 1.1rem; }
.tag { white-space: nowrap; font-size: .85rem; font-weight: 600; color: var(--tone); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1.2rem 1.6rem; }
figure { margin: 0; border: 1px solid var(--line); background: var(--wash); break-inside: avoid; }
figure img {
  display: block; width: 100%; height: 8.5rem; object-fit: contain; background: var(--paper);
  border-bottom: 1px solid var(--line);
}
figure .withheld { margin: 0; padding: .55rem .75rem; border-bottom: 1px solid var(--line); }
figcaption { padding: .55rem .75rem .65rem; font-size: .9rem; line-height: 1.4; }
figcaption dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .6rem; margin: .35rem 0 0; }
figcaption dt { font-size: .74rem; padding-top: .12rem; color: var(--soft); }
figcaption dd { margin: 0; }
figcaption dd.now { font-weight: 600; }
.plots figure { border: 0; background: none; }
.plots figcaption { padding: 0 0 .2rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .93rem; }
th, td { padding: .5rem .8rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { text-align: left; font-size: .74rem; font-weight: 600; color: var(--soft); }
tbody th { font: inherit; color: inherit; }
tbody th.code { font: .82em/1.5 ui-monospace, Menlo, Consolas, monospace; }
tr { break-inside: avoid; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td small, th small { display: block; max-width: 26rem; }
svg { display: block; }
.tag svg { display: inline; width: 1em; height: 1em; vertical-align: -.12em; margin-right: .35em; }
.track { fill: var(--wash); stroke: var(--line); }
.bar { fill: var(--after); opacity: .42; }
.whisker { stroke: var(--ink); stroke-width: 1.6; fill: none; }
.dot { fill: var(--ink); }
.before { fill: var(--paper); stroke: var(--ink); stroke-width: 1.6; }
.control { stroke: var(--ink); stroke-width: 1.4; stroke-dasharray: 2 2; }
.curve { fill: none; stroke: var(--after); stroke-width: 1.8; }
.grid { stroke: var(--line); }
.axis { fill: var(--soft); font-size: 10.5px; }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; font-size: .8rem; color: var(--soft); }
.legend svg { display: inline; vertical-align: -.25em; }
@media screen and (max-width: 44rem) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  .pictures { grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
  /* Words may break anywhere, so without a width of its own a column would be one letter wide. */
  table { min-width: 40rem; }
}
@media print {
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --line: #bbb; --wash: #fff;
    --after: #2f5d73; --pass: #2c6a45; --fail: #a3352a; --inconclusive: #8a6210;
  }
  body { font-size: 10.5pt; }
  header { padding-top: 0; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

MARKS = {
    "pass": '<path d="M5 13l5 5L20 6" fill="none" stroke="currentColor" stroke-width="2.6"/>',
    "fail": '<path d="M6 6l12 12M18 6L6 18" fill="none" stroke="currentColor" stroke-width="2.6"/>',
    "inconclusive": '<path d="M8 8.5a4 4 0 1 1 6 3.4q-2 1.2-2 3.6M12 18.6v2.4" fill="none" '
    'stroke="currentColor" stroke-width="2.4"/>',
}


def page(title: str, body: str) -> str:
    """Return a whole document; `body` is HTML already."""
    # The policy forbids every request, so a hostile name could fetch nothing even if escaping failed.
    rule = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{rule}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>"
        f"\n<body>\n{body}\n</body>\n</html>\n"
    )


def escaped(text: str) -> str:
    """Return text that is only text in HTML, attributes included.

    Example:
        >>> escaped('<b>"x"</b>')
        '&lt;b&gt;&quot;x&quot;&lt;/b&gt;'
    """
    return html.escape(text, quote=True)


def isolated(text: str) -> str:
    """Return foreign text escaped and in its own writing direction, so that it reorders nothing around it."""
    return f"<bdi>{escaped(text)}</bdi>"


def mark(verdict: str, *, css: str = "") -> str:
    """Draw a verdict's sign: a tick, a cross or a broken line."""
    return f'<svg class="{css}" viewBox="0 0 24 24" aria-hidden="true">{MARKS[verdict]}</svg>'


def tag(verdict: str) -> str:
    """Write a verdict as sign and word."""
    return f'<span class="tag {verdict}">{mark(verdict)}{verdict}</span>'


def table(head: list[tuple[str, str]], rows: list[str]) -> str:
    """Return a table that scrolls sideways where it must.

    Args:
        head: Each column's title with its CSS class.
        rows: Rows, HTML already.
    """
    cells = "".join(f'<th scope="col" class="{css}">{escaped(name)}</th>' for name, css in head)
    joined = "\n".join(rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>\n{joined}\n</tbody></table></div>'


def data_uri(image: Image.Image) -> str:
    """Return a thumbnail that needs no file beside the page."""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
