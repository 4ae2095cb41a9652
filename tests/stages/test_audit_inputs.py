"""What an auditor may get wrong: each is refused with its exit code, or is no evidence, and never a pass."""

import shutil

import auditing
import pytest

from auditing import run as audit
from erased_folder import make_edits, make_erased
from fakes import picture

from space_cli.cli.app import run
from space_cli.core.errors import UsageFault
from space_cli.io.artifact import read_record, source_of
from space_cli.reports._folder import FORMATS
from space_cli.stages import audit as stage

RULE = '[[rule]]\nscore = "forget_accuracy"\n'
POLICIES = {
    "no policy: severity: Extra inputs are not permitted": f'name = "x"\nseverity = 3\n{RULE}at_most = 0.1\n',
    "no policy: rule.0.atmost: Extra inputs": f'name = "x"\n{RULE}atmost = 0.1\n',
    "contradicts itself: forget_accuracy must be ≥ 0.5 and ≤ 0.1": f'name = "x"\n{RULE}at_most = 0.1\nat_least = 0.5\n',
    "contradicts itself: forget": f'name = "x"\n{RULE}at_most = 0.1\n{RULE}at_least = 0.5\n',
    "is not TOML": "name = ",
    "is not TOML: maximum recursion": f"name = {'[' * 9999}",
    "is not TOML: Exceeds the limit": f"min_n = {'9' * 9999}",
}


@pytest.mark.parametrize("said", POLICIES)
def test_a_policy_with_unknown_keys_or_contradictory_thresholds_is_refused(erased, tmp_path, capsys, said):
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICIES[said])
    assert run(["audit", str(erased), "--policy", str(policy), "--out", str(tmp_path / "audit")]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "audit").exists()


def test_an_audit_folder_in_place_of_a_checkpoint_is_refused(erased, tmp_path, capsys):
    audit(erased, tmp_path / "audit", metrics=("text_knowledge",))
    assert run(["audit", str(tmp_path / "audit"), "--out", str(tmp_path / "second")]) == 4
    assert "is of the kind `audit`: `erased` is needed" in capsys.readouterr().err


def test_an_audit_of_another_model_is_neither_reused_nor_verified(erased, tmp_path, capsys):
    words = ["audit", str(erased), "--metrics", "text_knowledge", "--out", str(tmp_path / "audit"), "--exit-zero"]
    assert run(words) == run(words) == 0
    assert "reused" in capsys.readouterr().err
    shutil.rmtree(erased)
    make_erased(erased, tmp_path / "base", edits=make_edits(0.5))
    assert run(["verify", str(tmp_path / "audit")]) == 4
    assert "input erased" in capsys.readouterr().out
    assert run(words) == 2  # it is there already, and speaks of another checkpoint
    assert "exists already" in capsys.readouterr().err


def test_an_edited_score_is_found_in_record_or_document(erased, tmp_path, capsys):
    audit(erased, tmp_path / "audit", metrics=("text_knowledge",))
    record = tmp_path / "audit" / "space.json"
    whole = record.read_text()
    assert run(["verify", str(tmp_path / "audit")]) == 0
    score = read_record(tmp_path / "audit").scores["text_knowledge"]
    forged = score.model_copy(update={"after": score.after - 1e-9})
    report = read_record(tmp_path / "audit")
    for change in (
        {"scores": {"text_knowledge": forged}},
        {"scores": {}},
        {"verdict": "pass"},
        {"gates": []},
        {"baseline": {"text_knowledge": forged}},
        {"policy_sha256": "0" * 64},
    ):
        record.write_text(report.model_copy(update=change).model_dump_json())
        capsys.readouterr()
        assert run(["verify", str(tmp_path / "audit")]) == 4, change
        assert "record and audit.sarif" in capsys.readouterr().out
    files = [entry for entry in report.files if entry.path != "audit.sarif"]
    for text in ("{}", "[]", "", '{"runs": [{}]}', None):
        sarif = tmp_path / "audit" / "audit.sarif"
        sarif.write_text(text) if text is not None else sarif.unlink()
        record.write_text(report.model_copy(update={"files": files}).model_dump_json())
        assert run(["verify", str(tmp_path / "audit")]) == 4, text
    record.write_text(whole)


def test_images_that_do_not_show_the_concept_are_no_evidence(erased, images, tmp_path):
    for view, path in enumerate(sorted((images / "panda").iterdir())):
        picture("rose", 60 + view).save(path)
    report = audit(erased, tmp_path / "audit", images=str(images))
    assert report.scores["forget_accuracy"].before == 0.0
    assert report.verdict != "pass"
    gate = next(gate for gate in report.gates if gate.score == "forget_accuracy")
    assert gate.verdict == "inconclusive"
    assert "before erasing" in gate.reason


def test_too_few_images_are_inconclusive(erased, images, tmp_path):
    for path in sorted((images / "panda").iterdir())[3:]:
        path.unlink()
    report = audit(erased, tmp_path / "audit", images=str(images))
    assert report.verdict == "inconclusive"
    gate = next(gate for gate in report.gates if gate.score == "forget_accuracy")
    assert gate.reason == "forget_accuracy has only 3 independent values: 10 are needed"


def test_copies_in_the_folder_of_an_alias_are_no_further_images(erased, images, tmp_path):
    for path in sorted((images / "panda").iterdir())[6:]:
        path.unlink()
    shutil.copytree(images / "panda", images / "giant_panda")
    report = audit(erased, tmp_path / "audit", images=str(images))
    assert report.scores["forget_accuracy"].n == 6
    assert report.verdict == "inconclusive"


@pytest.fixture
def trained(erased):
    """The erased folder, as a method that trains on images of the concept would have left it."""
    record = read_record(erased)
    request = record.request.model_copy(update={"forget_images": "/forget"})
    (erased / "space.json").write_text(record.model_copy(update={"request": request}).model_dump_json())
    return erased


@pytest.mark.parametrize("name", ["again.png", "again.bmp", "again.webp"])
def test_images_that_erasing_trained_on_are_refused_whatever_their_name_and_format(trained, images, tmp_path, name):
    more = {"lossless": True} if name.endswith("webp") else {}
    picture("panda", 91).save(images / "panda" / name, **more)
    with pytest.raises(UsageFault, match="1 of 13 images of the concept were given to `erase`") as refused:
        audit(trained, tmp_path / "audit", images=str(images))
    assert refused.value.exit_code == 2
    assert "other images" in refused.value.hint
    assert not (tmp_path / "audit").exists()


def test_anchors_of_a_source_free_erasure_are_no_new_images(erased, images, tmp_path):
    picture("panda", 91).save(images / "panda" / "again.png")
    with pytest.raises(
        UsageFault, match="1 of 13 images of the concept are anchors that erasing trained on"
    ) as refused:
        audit(erased, tmp_path / "audit", images=str(images))
    assert refused.value.exit_code == 2
    assert not (tmp_path / "audit").exists()


def test_a_receipt_that_denies_the_images_among_its_inputs_is_refused(trained, images, tmp_path, capsys):
    record = read_record(trained)
    used = record.model_copy(update={"inputs": [*record.inputs, source_of(images, "images")]})
    (trained / "space.json").write_text(used.model_dump_json())
    words = ["audit", str(trained), "--metrics", "text_knowledge", "--out", str(tmp_path / "one"), "--exit-zero"]
    assert run(words) == 0
    denied = used.model_copy(update={"request": record.request.model_copy(update={"forget_images": None})})
    (trained / "space.json").write_text(denied.model_dump_json())
    for words in (["audit", str(trained), "--out", str(tmp_path / "two")], ["verify", str(trained)]):
        assert run(words) == 4
        said = "does not fit its schema: images are among the inputs, though the request has no `forget_images`"
        assert said in capsys.readouterr().err


def test_new_images_pass_a_rule_of_their_own(trained, images, tmp_path):
    report = audit(trained, tmp_path / "audit", images=str(images))
    assert report.verdict == "pass"
    assert (report.gates[-1].score, report.gates[-1].verdict) == ("images", "pass")
    assert report.gates[-1].reason == "none of 12 is among the 3 that `erase` was given"
    assert all((tmp_path / "audit" / form.FILE).is_file() for form in FORMATS)


def test_images_that_cannot_be_compared_are_inconclusive(trained, images, tmp_path, monkeypatch):
    full = auditing.material()
    gone = type(full)(full.holdout, full.general, full.pool, unused="the images folder is gone")
    monkeypatch.setattr(stage, "open_material", lambda receipt, *, seed, places=None: gone)
    report = audit(trained, tmp_path / "audit", images=str(images))
    assert report.verdict == "inconclusive"
    assert report.gates[-1].reason == "what `erase` was given cannot be compared: the images folder is gone"


def test_without_images_or_without_training_on_any_there_is_no_such_rule(trained, erased, images, tmp_path):
    assert "images" not in {gate.score for gate in audit(trained, tmp_path / "one").gates}
    record = read_record(erased)
    request = record.request.model_copy(update={"forget_images": None})
    (erased / "space.json").write_text(record.model_copy(update={"request": request}).model_dump_json())
    assert "images" not in {gate.score for gate in audit(erased, tmp_path / "two", images=str(images)).gates}
