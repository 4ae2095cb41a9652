"""Selection and erasure on disk, on the bundled checkpoint with a small pool and a tiny budget."""

import json
import math
import shutil

import pytest
import subjects

from heard import Heard

from space_cli import __version__
from space_cli.bundled.checkpoint import checkpoint_folder, encoder_folder
from space_cli.bundled.concepts import drawn_concepts
from space_cli.bundled.drawings import STYLES, render
from space_cli.core import types
from space_cli.core.errors import ArtifactFault, GateRefusal, SpaceError, UsageFault
from space_cli.core.products import product_in_order
from space_cli.core.protocols import Silent
from space_cli.core.recipe import Concept, EraseRequest, IndexRequest, SelectRequest
from space_cli.io.anchors import open_anchors
from space_cli.io.model import open_model
from space_cli.stages import select as select_stage
from space_cli.stages.erase import erase, plan
from space_cli.stages.index import index
from space_cli.stages.select import select
from space_cli.stages.verify import verify

OWL = Concept(name="owl", kind="animal")
SIZES = {"candidates": 40, "anchors": 10, "holdout": 3, "neighbours": 16, "general": 30}
NEAR = SIZES | {"floor": 0.2}  # a pool this small has few images that chance would not reach
TINY = {
    "steps": 4, "refresh": 2, "refresh_rows": 2, "harden_steps": 4, "fresh_steps": 4, "batch": 4, "retain_batch": 6,
    "check": 4, "rehearsals": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two renderings of each concept but the owl, and an index of them."""
    folder = tmp_path_factory.mktemp("pictures")
    for row, concept in enumerate(c for c in drawn_concepts() if c.name != "owl"):
        for view in range(2):
            render(concept.symbol, STYLES[view], 2_600_000 + view).save(folder / f"{row:03d}-{view}.png")
    out = folder.parent / "pool"
    index(IndexRequest(sources=(str(folder),), encoder=str(encoder_folder())), out, progress=Silent())
    return out


@pytest.fixture(scope="module")
def anchors(pool):
    out = pool.parent / "anchors"
    request = SelectRequest(concept=OWL, pool=str(pool), model=str(checkpoint_folder()), **NEAR)
    select(request, out, progress=Silent())
    return out


def request_for(anchors, **changes):
    wanted = {"concept": OWL, "model": str(checkpoint_folder()), "anchors": str(anchors), "options": TINY}
    return EraseRequest(**(wanted | changes))


def test_anchors_have_disjoint_roles_figures_and_a_sheet(anchors):
    manifest, found = open_anchors(anchors)
    digests = [anchor.item.sha256 for anchor in found]
    assert len(digests) == len(set(digests))
    assert manifest.roles["forget"] == 10
    assert manifest.activation_rate is not None
    assert 0 <= manifest.activation_rate <= 1
    assert [one.layer for one in manifest.leverage] == list(subjects.bundled().family.layers("mlp"))
    assert all(0 <= one.leverage <= 1 for one in manifest.leverage)
    assert (anchors / "contact-sheet.html").stat().st_size > 1000
    assert (anchors / "contact-sheet.png").stat().st_size > 1000


def test_proxies_found_by_text_leave_the_concept_silent(anchors):
    manifest, found = open_anchors(anchors)
    active = [anchor.activation for anchor in found if anchor.role == "forget"]
    assert max(active) < manifest.activation_reference - 1.0


def test_without_a_model_roles_are_given_by_similarity_alone(pool, tmp_path):
    manifest = select(SelectRequest(concept=OWL, pool=str(pool), **NEAR), tmp_path / "a", progress=Silent())
    assert manifest.activation_rate is None
    assert not manifest.leverage


def chosen(folder):
    return {anchor.item.sha256: anchor for anchor in open_anchors(folder)[1] if anchor.role in {"forget", "holdout"}}


def test_anchors_may_be_drawn_from_the_whole_pool(pool, tmp_path):
    request = SelectRequest(concept=OWL, pool=str(pool), ranking="random", **SIZES)
    manifest = select(request, tmp_path / "a", progress=Silent())
    select(request, tmp_path / "b", progress=Silent())
    select(request.model_copy(update={"seed": 1}), tmp_path / "c", progress=Silent())
    assert manifest.roles["forget"] == SIZES["anchors"]
    assert min(anchor.similarity for anchor in chosen(tmp_path / "a").values()) < manifest.floor
    assert chosen(tmp_path / "a") == chosen(tmp_path / "b")
    assert chosen(tmp_path / "a") != chosen(tmp_path / "c")
    with pytest.raises(GateRefusal, match="nothing near"):
        select(request.model_copy(update={"min_anchors": 10_000}), tmp_path / "d", progress=Silent())


def test_without_the_re_rank_the_nearest_are_the_anchors(pool, anchors, tmp_path):
    request = SelectRequest(concept=OWL, pool=str(pool), model=str(checkpoint_folder()), ranking="similarity", **NEAR)
    select(request, tmp_path / "a", progress=Silent())
    select(request.model_copy(update={"model": None}), tmp_path / "b", progress=Silent())
    near, active = chosen(tmp_path / "a"), chosen(anchors)
    assert near.keys() == chosen(tmp_path / "b").keys() != active.keys()
    assert sum(one.activation for one in near.values()) < sum(one.activation for one in active.values())


def test_an_excluded_image_gets_no_role(pool, anchors, tmp_path):
    rejected = open_anchors(anchors)[1][0].item.sha256
    request = SelectRequest(concept=OWL, pool=str(pool), exclude=(rejected[:12],), **NEAR)
    select(request, tmp_path / "a", progress=Silent())
    assert rejected not in {anchor.item.sha256 for anchor in open_anchors(tmp_path / "a")[1]}
    with pytest.raises(UsageFault, match="not in the pool"):
        select(request.model_copy(update={"exclude": ("f" * 12,)}), tmp_path / "b", progress=Silent())


def test_a_pool_with_nothing_near_is_refused(pool, tmp_path):
    request = SelectRequest(concept=OWL, pool=str(pool), floor=0.99, **SIZES)
    with pytest.raises(GateRefusal, match="nothing near") as refusal:
        select(request, tmp_path / "a", progress=Silent())
    assert refusal.value.figures["floor"] == 0.99
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("name", ["Donald Trump", "zqxv", "vroom glarb"])
def test_a_concept_the_checkpoint_does_not_know_is_refused(pool, tmp_path, name):
    request = SelectRequest(
        concept=Concept(name=name), pool=str(pool), model=str(checkpoint_folder()), floor=-1.0, **SIZES
    )
    with pytest.raises(GateRefusal, match="does not seem to know") as refused:
        select(request, tmp_path / "a", progress=Silent())
    assert "--allow-unknown" in refused.value.hint
    insisting = request.model_copy(update={"allow_unknown": True})
    assert select(insisting, tmp_path / "a", progress=Silent()).roles["forget"]


@pytest.mark.slow
def test_a_name_that_the_checkpoint_gives_a_candidate_needs_no_push(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(select_stage, "KNOWN_MARGIN", math.inf)
    request = SelectRequest(concept=Concept(name="penguin"), pool=str(pool), model=str(checkpoint_folder()), **NEAR)
    assert select(request, tmp_path / "a", progress=Silent()).leaks >= 2
    with pytest.raises(GateRefusal, match="does not seem to know"):
        select(request.model_copy(update={"concept": OWL}), tmp_path / "b", progress=Silent())


@pytest.mark.slow
def test_the_leak_guard_keeps_out_what_the_model_names(pool, tmp_path):
    leaky = Concept(name="penguin")  # the pool shows two of them
    request = SelectRequest(concept=leaky, pool=str(pool), model=str(checkpoint_folder()), **NEAR)
    manifest = select(request, tmp_path / "a", progress=Silent())
    assert manifest.leaks >= 2
    shown = open_anchors(tmp_path / "a")[1]
    guarded = {anchor.item.member for anchor in shown}
    row = [c.name for c in drawn_concepts() if c.name != "owl"].index("penguin")
    assert not guarded & {f"{row:03d}-0.png", f"{row:03d}-1.png"}
    allowed = select(request.model_copy(update={"allow_leaks": True}), tmp_path / "b", progress=Silent())
    assert allowed.roles["forget"] == 10
    assert {f"{row:03d}-0.png", f"{row:03d}-1.png"} & {a.item.member for a in open_anchors(tmp_path / "b")[1]}


@pytest.mark.slow
def test_an_erased_folder_is_a_drop_in_that_verifies(anchors, tmp_path, monkeypatch):
    out, summed = tmp_path / "erased", []
    monkeypatch.setattr(types, "product_in_order", lambda *two: summed.append(two) or product_in_order(*two))
    receipt = erase(request_for(anchors), out, progress=Silent())
    assert len(summed) == len(receipt.layers), "a sum in its written order takes seconds a layer"
    assert [check for check in verify(out) if not check.passed] == []
    assert {one.layer for one in receipt.layers} == set(subjects.bundled().family.layers("mlp"))
    assert all(one.relative_change > 0 and one.leak_rounded >= 0 for one in receipt.layers)
    names = ["anchors.safetensors", "edits.safetensors", "ledger.jsonl", "metrics.jsonl"]
    assert sorted(p.name for p in (out / "space").iterdir()) == names
    assert (receipt.requests, receipt.used, receipt.meter) == (1, None, "")
    rows = [json.loads(line) for line in (out / "space" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert open_model(out, device="cpu").answer(None, ["What kind of thing is a cat?"])


@pytest.mark.slow
def test_a_second_request_retains_what_the_first_made_forgotten(anchors, tmp_path, monkeypatch):
    """On the owl's anchors again, which serve another name as well for four steps."""
    monkeypatch.setattr("space_cli.stages.erase._require_fresh", lambda manifest, request: None)
    erase(request_for(anchors), tmp_path / "first", progress=Silent())
    second = request_for(anchors, concept=Concept(name="wolf", kind="animal"), model=str(tmp_path / "first"))
    receipt = erase(second, tmp_path / "second", progress=Silent())
    assert [check for check in verify(tmp_path / "second") if not check.passed] == []
    assert receipt.requests == 2
    assert 0 < receipt.used <= 1
    assert receipt.meter.startswith("2 requests have spent")
    assert (tmp_path / "second" / "space" / "earlier" / "0001.anchors.safetensors").is_file()


@pytest.mark.slow
def test_same_request_same_bytes(anchors, tmp_path):
    one, other = (erase(request_for(anchors), tmp_path / name, progress=Silent()) for name in ("one", "other"))
    assert one.files == other.files


def test_a_broken_retain_budget_writes_nothing(anchors, tmp_path):
    request = request_for(anchors, max_retain_kl=1e-9)
    with pytest.raises(GateRefusal, match="nothing was written") as refusal:
        erase(request, tmp_path / "erased", progress=Silent())
    assert refusal.value.figures["retain_kl"] > 1e-9
    assert not (tmp_path / "erased").exists()


class Killed(Silent):
    """A progress that dies like a terminal, at the third step of the erasure."""

    def task(self, label, total=None):
        bar = super().task(label, total)
        return _Dying(bar) if label == "erase" else bar


class _Dying:
    def __init__(self, bar):
        self._bar = bar
        self._calls = 0

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        return None

    def __call__(self, steps=1, /, **figures):
        self._calls += 1
        if self._calls == 4:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_killed_erase_resumes_to_the_same_checkpoint(anchors, tmp_path):
    whole = erase(request_for(anchors), tmp_path / "whole", progress=Silent())
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        erase(request_for(anchors), out, progress=Killed())
    assert not out.exists()
    assert (tmp_path / ".killed.partial" / "space" / "state.safetensors").is_file()
    assert erase(request_for(anchors), out, progress=Silent()).files == whole.files


@pytest.mark.parametrize(("version", "continued"), [(__version__, True), ("0.0.0", False)])
def test_a_run_of_another_version_is_not_continued(anchors, tmp_path, monkeypatch, version, continued):
    with pytest.raises(KeyboardInterrupt):
        erase(request_for(anchors), tmp_path / "killed", progress=Killed())
    monkeypatch.setattr("space_cli.stages.erase.__version__", version)
    progress = Heard()
    erase(request_for(anchors), tmp_path / "killed", progress=progress)
    assert any("continuing an interrupted run" in note for note in progress.notes) == continued


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "nope"}, "unknown method"),
        ({"options": {"stepz": 1}}, "stepz"),
        ({"options": {"steps": 0}}, "steps"),
        ({"concept": Concept(name="cat")}, "anchors are for `owl`"),
        ({"model": "./nowhere"}, "nowhere"),
    ],
)
def test_bad_requests_fail_before_a_weight_is_read(anchors, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    with pytest.raises(SpaceError, match=message):
        erase(request_for(anchors, **changes), tmp_path / "erased", progress=Silent())


def test_anchors_without_a_model_are_not_enough(pool, tmp_path):
    select(SelectRequest(concept=OWL, pool=str(pool), **NEAR), tmp_path / "a", progress=Silent())
    with pytest.raises(ArtifactFault, match="without the checkpoint"):
        erase(request_for(tmp_path / "a"), tmp_path / "erased", progress=Silent())


def test_a_missing_pool_image_is_named(anchors, tmp_path):
    copy = tmp_path / "anchors"
    shutil.copytree(anchors, copy)
    source = open_anchors(copy)[1][0].item
    from pathlib import Path

    picture = Path(source.source) / source.member
    kept = picture.read_bytes()
    picture.unlink()
    try:
        with pytest.raises(SpaceError, match=picture.name):
            erase(request_for(copy), tmp_path / "erased", progress=Silent())
    finally:
        picture.write_bytes(kept)


def test_the_plan_reads_headers_only(anchors, monkeypatch):
    monkeypatch.setattr("space_cli.stages.erase.open_subject", lambda *a, **k: pytest.fail("weights were read"))
    told = plan(request_for(anchors))
    assert told["layers"][0] == "multi_modal_projector.linear_2.weight"
    assert 0 < told["edited_parameters"] < told["parameters"]
