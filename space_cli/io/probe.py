"""What an audit reads beside the auditor's pictures: notes, policy, unused anchors, the training record."""

import hashlib
import json
import os
import tomllib
import unicodedata

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from PIL.Image import Image
from pydantic import TypeAdapter, ValidationError

from space_cli.core.errors import AS_WRITTEN, READABLE, ArtifactFault, EnvironmentFault, UsageFault
from space_cli.core.policy import Policy, parse_policy
from space_cli.core.probing import Notes
from space_cli.core.records import ErasureReceipt, PoolManifest, Source, SourceKind
from space_cli.core.types import Anchor
from space_cli.io.anchors import open_anchors
from space_cli.io.artifact import source_of
from space_cli.io.images import load_items, readable_images
from space_cli.io.listing import place_of
from space_cli.io.pool import Pool, open_pool
from space_cli.io.storage import read_small

NOTES = "concepts.toml"
DEFAULT_POLICY = "default"
TRAINING = Path("space") / "metrics.jsonl"
ALIKE = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"}
"""Scripts with letters that nobody tells apart."""
GENERAL = 64
"""Pool images for the metrics on everything else: enough for an interval of a few per cent of a nat."""


@dataclass(frozen=True)
class Material:
    """What the folders behind an erasure still offer."""

    holdout: list[Image]  # anchors kept out of erasing
    general: list[Image]  # pool images far from the concept that are no anchor
    pool: PoolManifest | None
    missing: str = ""  # why something above is empty
    used: Sequence[Image] = ()  # what erasing trained on: its forget anchors, or the images it was given
    unused: str = ""  # why `used` is empty


def open_notes(folder: Path) -> dict[str, Notes]:
    """Read `concepts.toml` of a folder of images; no such file is no notes.

    Raises:
        UsageFault: It is no TOML, or holds something else than notes.
        EnvironmentFault: It may not be read.
    """
    path = folder / NOTES
    if not path.is_file():
        return {}
    try:
        return TypeAdapter(dict[str, Notes]).validate_python(tomllib.loads(read_small(path).decode("utf-8-sig")))
    except PermissionError as failure:
        raise EnvironmentFault(f"`{path}` may not be read: {failure.strerror}", hint=READABLE) from None
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageFault(
            f"`{path}` does not fit: {where}: {first['msg']}",
            hint="a table per concept with `phrase`, `kind`, `aliases` and `facts`",
        ) from None
    except (ValueError, RecursionError) as failure:  # not UTF-8, or a number too long, or lists nested too deep
        raise UsageFault(
            f"`{path}` is not TOML: {failure}",
            hint="write a table per concept, such as `[panda]`, and save it as UTF-8",
        ) from None


def open_policy(path: str | None, *, known: Sequence[str]) -> tuple[Policy, str]:
    """Read a policy with the SHA-256 of its file; None is `default`.

    Args:
        path: The name of a policy that ships with `space`, or a file; `./strict` is a file, `strict` is not.
        known: Every score there is.

    Raises:
        UsageFault: The file is missing or no policy, or takes the name of a shipped one whose rules it has not.
    """
    content = policy_bytes(path)
    try:
        text = content.decode("utf-8-sig")  # some editors mark a file as such
    except UnicodeDecodeError as failure:
        raise UsageFault(f"the policy `{path}` cannot be read: {failure}", hint="save it as UTF-8") from None
    origin = f"the policy {path or DEFAULT_POLICY}" if path in {None, *shipped_policies()} else str(path)
    policy = parse_policy(text, origin=origin, known=known)
    _refuse_borrowed_name(policy, origin)
    return policy, hashlib.sha256(content).hexdigest()


def _refuse_borrowed_name(policy: Policy, origin: str) -> None:
    """Refuse other rules under a shipped policy's name: every report tells the verdict by that name."""
    name = _plain(policy.name)
    if len({unicodedata.name(each, "").partition(" ")[0] for each in name if each.isalpha()} & ALIKE) > 1:
        raise UsageFault(
            f"`{origin}` is called `{policy.name}`, with letters of two scripts that look alike",
            hint="write its `name` in one of them: reports tell the verdict by it",
        )
    if name not in shipped_policies():
        return
    shipped = Policy.model_validate(tomllib.loads(policy_bytes(name).decode("utf-8")))
    if policy.model_copy(update={"name": name}) != shipped:
        raise UsageFault(
            f"`{origin}` is called `{policy.name}`, as a shipped policy that has other rules",
            hint="give it a `name` of its own: reports tell the verdict by it",
        )


def _plain(name: str) -> str:
    """Return a name as it is read: without what does not show, and in usual letters."""
    shown = (each for each in unicodedata.normalize("NFKC", name) if unicodedata.category(each) not in {"Cf", "Cc"})
    return " ".join("".join(shown).split()).casefold()


def policy_bytes(path: str | None) -> bytes:
    """Return the text of a policy as it lies on disk.

    Raises:
        UsageFault: It is neither a shipped name nor a file that may be read.
    """
    name = DEFAULT_POLICY if path is None else path
    if name in shipped_policies():
        return resources.files("space_cli.policies").joinpath(f"{name}.toml").read_bytes()
    try:
        return Path(name).read_bytes()
    except OSError as failure:
        hint = f"shipped are {', '.join(shipped_policies())}"
        raise UsageFault(f"the policy `{path}` cannot be read: {failure}", hint=hint) from None


def shipped_policies() -> list[str]:
    """List the policies that ship with `space`, by name."""
    files = (entry.name for entry in resources.files("space_cli.policies").iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def open_material(receipt: ErasureReceipt, *, seed: int, places: Mapping[str, str] | None = None) -> Material:
    """Open the anchors and the pool behind an erasure, where they are still what they were."""
    trained = receipt.request.forget_images is not None
    return material_behind(_inputs(receipt), trained=trained, seed=seed, places=places)


def material_behind(
    inputs: list[Source], *, trained: bool, seed: int, places: Mapping[str, str] | None = None
) -> Material:
    """Do the same for recorded inputs.

    Args:
        inputs: Of an erasure.
        trained: Whether it trained on images of the concept, which are then among the inputs.
        seed: Draws the pool images.
        places: Where inputs are now, by kind.
    """
    inputs = at_hand(inputs, places or {})
    try:
        folder = unchanged(inputs, "anchors")
        manifest, anchors = open_anchors(folder)
        holdout = load_items([anchor.item for anchor in anchors if anchor.role == "holdout"])
    except ArtifactFault as fault:
        return Material([], [], None, fault.message, unused=fault.message)
    used, unused = _used(inputs, anchors, trained=trained)
    try:
        pool = open_pool(unchanged(at_hand(manifest.inputs, places or {}), "pool"))
        general = _far_items(pool, anchors, seed)
    except ArtifactFault as fault:
        return Material(holdout, [], None, fault.message, used, unused)
    return Material(holdout, general, with_encoder(pool.manifest, places or {}), "", used, unused)


def with_encoder(pool: PoolManifest, places: Mapping[str, str]) -> PoolManifest:
    """Return the manifest with the place where its encoder is now, if it is another.

    Raises:
        ArtifactFault: What lies there is not the encoder that indexed the pool.
    """
    # Alone: `images` among the places are those of the erasure, not the pool's.
    recorded = [source for source in pool.inputs if source.kind == "encoder"]
    inputs = at_hand(recorded, places)
    if inputs == recorded:
        return pool
    request = pool.request.model_copy(update={"encoder": str(unchanged(inputs, "encoder"))})
    return pool.model_copy(update={"request": request})


def _used(inputs: list[Source], anchors: Sequence[Anchor], *, trained: bool) -> tuple[list[Image], str]:
    """Return what erasing trained on, or why it cannot be had."""
    try:
        if trained:
            return readable_images(unchanged(inputs, "images"))[0], ""
        return load_items([anchor.item for anchor in anchors if anchor.role == "forget"]), ""
    except ArtifactFault as fault:
        return [], fault.message


def _inputs(receipt: ErasureReceipt) -> list[Source]:
    """Return every input of an erasure, those that a pseudonymized copy does not vouch for among them."""
    return [*receipt.inputs, *(receipt.pseudonymized.withheld if receipt.pseudonymized else ())]


def at_hand(inputs: Sequence[Source], places: Mapping[str, str]) -> list[Source]:
    """Return recorded inputs, each with the place where it is now.

    Args:
        inputs: Of a record.
        places: Where inputs are now, by kind.
    """
    return [source.model_copy(update={"path": str(place_of(source, places))}) for source in inputs]


def unchanged(inputs: list[Source], kind: SourceKind) -> Path:
    """Return the folder of a recorded input.

    Raises:
        ArtifactFault: None of this kind is recorded, or the folder is gone or was made anew since.
    """
    source = next((source for source in inputs if source.kind == kind), None)
    if source is None:
        raise ArtifactFault(f"no folder of the kind `{kind}` is recorded", hint=AS_WRITTEN)
    folder = Path(source.path)
    if not os.path.isdir(folder):
        raise ArtifactFault(
            f"the {kind} folder `{folder}` is gone", hint=f"put it back, or say where it is with `--input {kind}=DIR`"
        )
    found = source_of(folder, kind).sha256
    if found != source.sha256:
        raise ArtifactFault(
            f"the {kind} folder `{folder}` was made anew: expected {source.sha256[:12]}…, found {found[:12]}…",
            hint=f"pass the old one with `--input {kind}=DIR`, once nothing lies where it was",
        )
    return folder


def open_training(erased: Path) -> list[dict[str, float]]:
    """Read the signals an erasure wrote step by step; a method without steps wrote none.

    Raises:
        ArtifactFault: A line is no JSON object of numbers.
    """
    path = erased / TRAINING
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(read_small(path).splitlines(), start=1):
        try:
            entries = json.loads(line).items()
            rows.append({key: float(value) for key, value in entries if type(value) in {int, float}})
        except (ValueError, AttributeError, OverflowError, RecursionError):
            raise ArtifactFault(f"`{path}` line {number} is not a JSON object", hint=AS_WRITTEN) from None
    return rows


def _far_items(pool: Pool, anchors: list[Anchor], seed: int) -> list[Image]:
    """Draw images from the half of the pool that is less like the concept, none of them an anchor."""
    taken = {anchor.item.sha256 for anchor in anchors}
    near = {anchor.item.sha256 for anchor in anchors if anchor.role == "forget"}
    rows = [row for row, item in enumerate(pool.items) if item.sha256 in near]
    centre = pool.embeddings[rows].mean(axis=0) if rows else np.zeros(pool.manifest.width, dtype=np.float32)
    order = np.argsort(pool.embeddings @ centre, kind="stable")[: (len(pool.items) + 1) // 2]
    free = [row for row in order.tolist() if pool.items[row].sha256 not in taken]
    drawn = np.random.default_rng(seed).permutation(len(free))[:GENERAL]
    return load_items([pool.items[free[place]] for place in sorted(drawn.tolist())])
