"""The anchors as pictures: one PNG to glance at, one HTML page to review and reject from."""

import base64
import html
import io

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from space_cli.core.types import ROLES, Anchor
from space_cli.io.images import load_items

TILE = 112  # pixels
COLUMNS = 12
SHOWN = 48  # images of a role; a sheet is for looking, the table holds them all


def write_contact_sheet(folder: Path, anchors: Sequence[Anchor], concept: str) -> None:
    """Write `contact-sheet.png` and `contact-sheet.html`."""
    chosen = [[a for a in anchors if a.role == role][:SHOWN] for role in ROLES]
    tiles = [[_tile(image) for image in load_items([a.item for a in part])] for part in chosen]
    _sheet(tiles).save(folder / "contact-sheet.png")
    sections = "".join(_section(role, part, row) for role, part, row in zip(ROLES, chosen, tiles, strict=True))
    (folder / "contact-sheet.html").write_text(_PAGE.format(concept=html.escape(concept), sections=sections), "utf-8")


def _tile(image: Image.Image) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), "white")
    image.thumbnail((TILE, TILE))
    tile.paste(image, ((TILE - image.width) // 2, (TILE - image.height) // 2))
    return tile


def _sheet(tiles: list[list[Image.Image]]) -> Image.Image:
    rows = [-(-len(part) // COLUMNS) for part in tiles]
    sheet = Image.new("RGB", (COLUMNS * TILE, (sum(rows) or 1) * TILE + len(tiles) * 20), "white")
    top = 0
    for role, part, height in zip(ROLES, tiles, rows, strict=True):
        ImageDraw.Draw(sheet).text((4, top + 4), role, fill="black")
        top += 20
        for index, tile in enumerate(part):
            sheet.paste(tile, (index % COLUMNS * TILE, top + index // COLUMNS * TILE))
        top += height * TILE
    return sheet


def _section(role: str, anchors: Sequence[Anchor], tiles: Sequence[Image.Image]) -> str:
    figures = "".join(_figure(anchor, tile) for anchor, tile in zip(anchors, tiles, strict=True))
    return f"<section><h2>{role} <small>{len(anchors)} shown</small></h2><div class=grid>{figures}</div></section>"


def _figure(anchor: Anchor, tile: Image.Image) -> str:
    stream = io.BytesIO()
    tile.save(stream, "JPEG", quality=80)
    data = base64.b64encode(stream.getvalue()).decode()
    active = "" if anchor.activation is None else f"<br>log p {anchor.activation:.2f}"
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{html.escape(anchor.item.member)}">'
        f"<figcaption>sim {anchor.similarity:.3f}{active}<br>"
        f"<code>{anchor.item.sha256[:12]}</code></figcaption></figure>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Anchors for {concept}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font-family: system-ui, sans-serif; }}
body {{ max-width: 75rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.4; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .75rem; }}
figure {{ margin: 0; font-size: .75rem; }} img {{ width: 100%; border-radius: .3rem; }}
h2 {{ border-bottom: 1px solid; padding-bottom: .2rem; }} small {{ font-weight: normal; opacity: .7; }}
</style></head><body>
<h1>Anchors for {concept}</h1>
<p>Forget and holdout images stand in for the concept: none of them may show it. To reject one, run
<code>space select</code> again with <code>--exclude</code> and the digest below it.</p>
{sections}
</body></html>
"""
