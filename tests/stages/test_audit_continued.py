"""An audit of a checkpoint that was erased from before."""

import pytest
import torch

from auditing import QUICK, layered, run
from erased_folder import make_edits, make_erased
from fakes import Table, knowing, ranking

from space_cli.core.errors import ArtifactFault
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.io.artifact import file_records, open_artifact
from space_cli.stages import audit as stage


@pytest.fixture
def continued(erased, tmp_path, monkeypatch):
    """The bear erased after the panda; the layers that earlier edits are taken off are there."""
    folder = make_erased(tmp_path / "again", erased, edits=make_edits(0.5), concept=Concept(name="bear"))
    after, opened = Table(knowing("panda", "bear"), ranking("panda", "bear")), stage.open_model
    after.model = layered()
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


def test_a_baseline_is_measured_from_before_its_own_first_request(continued, lifted, images, tmp_path):
    wanted = {"images": str(images), "baseline": str(lifted), "metrics": ("retained_since_first", "retain_accuracy")}
    report = run(continued, tmp_path / "audit", **wanted)
    assert {"retained_since_first"} <= set(stage.plan(AuditRequest(erased=str(continued)))["metrics"])
    found = report.scores["retained_since_first"]
    assert (found.before, found.after, found.n) == (1.0, 1.0, report.scores["retain_accuracy"].n)
    assert found.note.endswith("over 2 requests")
    assert report.baseline["retained_since_first"].after == 1.0


def test_without_their_images_the_kept_anchors_of_earlier_concepts_are_asked(continued, tmp_path):
    report = run(continued, tmp_path / "audit", metrics=("rebound", "history"))
    assert "0 of 1 concepts on 6 images or more" in report.scores["rebound"].note
    assert report.skipped == {}


def test_a_first_request_has_nothing_to_look_at_again(erased, images, tmp_path):
    report = run(erased, tmp_path / "audit", images=str(images), metrics=("rebound", "history"))
    why = "needs `earlier`: this is the first request of its checkpoint"
    assert report.skipped == {"rebound": why, "history": why}
    assert "rebound" not in stage.plan(AuditRequest(erased=str(erased)))["metrics"]


class Weighed(Table):
    """Names the panda while what its first layer makes of ones is positive in sum, which its weight says is one."""

    def __init__(self):
        super().__init__(self._say, ranking())
        self.model = layered()
        with torch.no_grad():
            self.model.model.layers[0].down.weight.fill_(1 / 24)
            self.model.model.layers[0].down.bias.zero_()

    def _say(self, name, question):
        found = self.model.model.layers[0].down(torch.ones(1, 6)).sum()
        return knowing(*(() if found > 0 else ("panda",)))(name, question)


@pytest.fixture
def lifted(continued, erased, tmp_path, monkeypatch):
    """Another erasure of the bear, whose own edit brought the panda back."""
    folder = make_erased(tmp_path / "lifted", erased, edits=make_edits(-2.0), concept=Concept(name="bear"))
    table, opened = Weighed(), stage.open_model
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: table if place == folder else opened(place, device=device)
    )
    return folder


def test_a_baseline_gets_its_own_edits_taken_off_and_not_those_of_the_audited(continued, lifted, images, tmp_path):
    wanted = {"images": str(images), "baseline": str(lifted), "metrics": ("rebound", "history")}
    report = run(continued, tmp_path / "audit", **wanted)
    assert report.scores["rebound"].after == 0.0
    # Without its own edit it does not name the panda; without that of the audited checkpoint it would.
    assert report.baseline["rebound"].after == 1.0
    assert report.baseline["history"].after == 0.0


def test_other_names_of_earlier_concepts_are_taken_from_the_notes(continued, images, tmp_path):
    (images / "panda").rename(images / "giant panda")
    report = run(continued, tmp_path / "audit", images=str(images), metrics=("history", "retain_accuracy"))
    assert "1 of 1 concepts on images" in report.scores["history"].note
    assert report.scores["retain_accuracy"].before == 1.0


def test_a_receipt_that_denies_its_earlier_requests_is_not_excused_from_looking_at_them(continued, images, tmp_path):
    record = open_artifact(continued, "erased")
    (continued / "space.json").write_text(record.model_copy(update={"requests": 1}).model_dump_json())
    with pytest.raises(ArtifactFault, match="has 2 requests: the receipt says 1") as fault:
        run(continued, tmp_path / "audit", images=str(images))
    assert fault.value.exit_code == 4


def test_what_an_earlier_request_erased_is_no_other_name(continued, images, tmp_path):
    wanted = {"images": str(images), "metrics": ("forget_choice_accuracy",)}
    plain = run(continued, tmp_path / "plain", **wanted).scores["forget_choice_accuracy"]
    named = run(continued, tmp_path / "named", **wanted, names=("panda", "a giant panda")).scores
    assert named["forget_choice_accuracy"].note == plain.note


def test_a_ledger_of_another_checkpoint_stops_an_audit(continued, other, images, tmp_path):
    ledger = continued / "space" / "ledger.jsonl"
    ledger.write_bytes((other / "space" / "ledger.jsonl").read_bytes())
    record = open_artifact(continued, "erased", verify=False)
    files = [entry for entry in file_records(continued) if entry.path != "space.json"]
    (continued / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())
    with pytest.raises(ArtifactFault, match="does not belong to this checkpoint") as fault:
        run(continued, tmp_path / "audit", images=str(images))
    assert fault.value.exit_code == 4
