"""An audit of a checkpoint that was erased from before."""

import pytest
import torch

from auditing import QUICK, run
from erased_folder import make_edits, make_erased
from fakes import Table, knowing, ranking

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.protocols import Silent
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.io.artifact import file_records, open_artifact
from space_cli.stages import audit as stage


@pytest.fixture
def continued(erased, tmp_path, monkeypatch):
    """The bear erased after the panda; the layers that earlier edits are taken off are there."""
    folder = make_erased(tmp_path / "again", erased, edits=make_edits(0.5), concept=Concept(name="bear"))
    after, opened = Table(knowing("panda", "bear"), ranking("panda", "bear")), stage.open_model
    block = torch.nn.Module()
    block.layers = torch.nn.ModuleList(torch.nn.Module() for _ in range(2))
    for layer in block.layers:
        layer.down = torch.nn.Linear(6, 4)
    after.model = torch.nn.Module()
    after.model.model = block
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: after if place == folder else opened(place, device=device)
    )
    return folder


def test_earlier_concepts_are_audited_again_and_are_no_knowledge_to_retain(continued, images, tmp_path):
    report = run(continued, tmp_path / "audit", images=str(images), metrics=(*QUICK, "rebound", "history"))
    assert {"rebound", "history"} <= set(stage.plan(AuditRequest(erased=str(continued)))["metrics"])
    assert {"rebound", "history"} <= {*report.scores}
    assert (report.scores["rebound"].after, report.scores["rebound"].n) == (0.0, 1)
    assert report.scores["history"].after == 1.0
    assert "1 of 1 concepts on images" in report.scores["history"].note
    assert report.scores["forget_accuracy"].after == 0.0
    assert report.scores["retain_accuracy"].before == 1.0, "pictures of the panda are not among the retained"
    assert "panda" not in report.scores["neighbour_accuracy"].note


def test_without_their_images_the_kept_anchors_of_earlier_concepts_are_asked(continued, tmp_path):
    report = run(continued, tmp_path / "audit", metrics=("rebound", "history"))
    assert "0 of 1 concepts on images" in report.scores["rebound"].note
    assert report.skipped == {}


def test_a_first_request_has_nothing_to_look_at_again(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("rebound", "history"))
    why = "needs `earlier`: this is the first request of its checkpoint"
    assert report.skipped == {"rebound": why, "history": why}
    assert "rebound" not in stage.plan(AuditRequest(erased=str(erased)))["metrics"]


def test_a_pseudonym_cannot_hide_what_earlier_requests_erased(continued, tmp_path):
    request = AuditRequest(erased=str(continued), pseudonymize=True)
    with pytest.raises(UsageFault, match="names what earlier requests erased"):
        stage.audit(request, tmp_path / "audit", progress=Silent(), key=b"k" * 32)


def test_a_ledger_of_another_checkpoint_stops_an_audit(continued, other, images, tmp_path):
    ledger = continued / "space" / "ledger.jsonl"
    ledger.write_bytes((other / "space" / "ledger.jsonl").read_bytes())
    record = open_artifact(continued, "erased", verify=False)
    files = [entry for entry in file_records(continued) if entry.path != "space.json"]
    (continued / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())
    with pytest.raises(ArtifactFault, match="does not belong to this checkpoint") as fault:
        run(continued, tmp_path / "audit", images=str(images))
    assert fault.value.exit_code == 4
