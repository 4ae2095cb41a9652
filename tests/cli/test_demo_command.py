"""The demo runs the whole chain in a folder of its own."""

import json
import shutil

from pathlib import Path

import pytest

from cli_records import make_audit, make_erased, make_pool

from space_cli.cli.app import run

PLACE = Path(".space")


def names(calls):
    return [name for name, _, _ in calls]


@pytest.fixture
def demo_parts(stages, monkeypatch, tmp_path):
    """Replace the bundled pictures and weights by empty folders."""

    def write(folder, concept, *, seed):
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    monkeypatch.setattr("space_cli.bundled.demo.write_pool", write)
    monkeypatch.setattr("space_cli.bundled.demo.write_probe", write)
    monkeypatch.setattr("space_cli.bundled.checkpoint.weights_folder", lambda: tmp_path)
    monkeypatch.setattr("space_cli.bundled.checkpoint.checkpoint_folder", lambda: tmp_path / "model")
    monkeypatch.setattr("space_cli.bundled.checkpoint.encoder_folder", lambda: tmp_path / "model")
    return stages


def test_the_demo_runs_the_chain_in_its_own_folder(demo_parts, tmp_path, capsys):
    assert run(["demo", "--concept", "Statue of Liberty", "--seed", "3", "--method", "dcsi", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["report"] == str(tmp_path / ".space" / "demo-statue-of-liberty" / "audit" / "report.html")
    assert names(demo_parts) == ["index", "select", "erase", "audit"]
    erased = demo_parts[2][1]
    assert (erased.concept.name, erased.concept.phrase) == ("statue of liberty", "the statue of liberty")
    assert (erased.method, erased.seed) == ("dcsi", 3)


def test_a_finished_demo_is_replaced_and_an_unfinished_one_continued(demo_parts):
    assert run(["demo"]) == 0
    assert run(["demo"]) == 0
    assert names(demo_parts) == ["index", "select", "erase", "audit"] * 2
    audited = PLACE / "demo-panda" / "audit"
    shutil.rmtree(audited)
    demo_parts.clear()
    assert run(["demo"]) == 0
    assert names(demo_parts) == ["audit"]


def test_the_demo_never_replaces_other_work(demo_parts, tmp_path, capsys, monkeypatch):
    make_pool(tmp_path / "mine" / "pool")
    assert run(["demo", "--workspace", "mine"]) == 2
    assert "holds no demo" in capsys.readouterr().err
    monkeypatch.setenv("SPACE_WORKSPACE", "mine")
    assert run(["demo"]) == 0
    assert (tmp_path / "mine" / "pool" / "space.json").is_file()
    assert (tmp_path / "mine" / "demo-panda" / "audit" / "space.json").is_file()


def test_a_demo_that_runs_is_not_replaced_by_another(demo_parts, capsys, fake_stage):
    seen = []

    def erase(request, out, *, progress, overwrite=False):
        (out.parent / "an hour of training").write_text("x", encoding="utf-8")
        seen.append(run(["demo", "--seed", "1"]))
        assert (out.parent / "an hour of training").is_file()
        return make_erased(out, Path(request.anchors))

    fake_stage("erase", erase)
    assert run(["demo"]) == 0
    assert seen == [5]
    assert f"another run is writing `{Path.cwd() / PLACE / 'demo-panda'}`" in capsys.readouterr().err
    assert [path.name for path in PLACE.iterdir() if path.name.startswith(".")] == [".demo-panda.lock"]


def test_pictures_in_the_folder_of_a_demo_are_no_input_of_it(demo_parts, capsys):
    assert run(["demo"]) == 0
    pictures = PLACE / "demo-panda" / "mine"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"png")
    assert run(["demo", "--method", "ga", "--forget-images", str(pictures)]) == 2
    assert "which this command reads" in capsys.readouterr().err
    assert pictures.is_dir()


def test_the_demo_shows_answers_before_and_after(demo_parts, capsys, fake_stage):
    def audit(request, out, *, progress, overwrite=False):
        report = make_audit(out, Path(request.erased))
        sample = {
            "role": "forget",
            "path": "a.png",
            "name": "panda",
            "question": "What is it?",
            "before": "a panda",
            "after": "a bear",
        }
        (out / "samples.jsonl").write_text(json.dumps(sample) + "\n", encoding="utf-8")
        return report

    fake_stage("audit", audit)
    assert run(["demo"]) == 0
    shown = capsys.readouterr().out
    assert "a panda" in shown
    assert "a bear" in shown
