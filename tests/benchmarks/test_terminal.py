"""The picture of a terminal: what the program prints of an audit, with its colours, and nothing from the network."""

import html
import re

import pytest

from benchmarks import terminal
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.core.records import AuditReport, GateRecord, Run, ScoreRecord
from space_cli.io.artifact import new_artifact

SCORE = ScoreRecord(before=1.0, after=0.125, low=0.0, high=0.25, n=24, better="lower")


@pytest.fixture
def audit(tmp_path):
    """A finished audit of one score."""
    with new_artifact(tmp_path / "audit", "", overwrite=False) as draft:
        gate = GateRecord(score="forget_accuracy", rule="forget_accuracy ≤ 0.1", verdict="fail", reason="it is 0.125")
        report = AuditReport(
            space_version="0",
            seed=0,
            inputs=[],
            files=[],
            run=Run(created="", seconds=0),
            request=AuditRequest(erased="/somewhere/erased"),
            concept=Concept(name="grand piano"),
            verdict="fail",
            scores={"forget_accuracy": SCORE},
            skipped={},
            gates=[gate],
            policy="default",
            policy_sha256="0",
            seconds={},
        )
        draft.finish(report)
    return tmp_path / "audit"


def words(svg):
    return html.unescape(re.sub(r"<[^>]+>", "", svg)).replace("\xa0", " ")


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "40"}])
def test_the_picture_shows_command_tables_and_verdict(audit, tmp_path, monkeypatch, capsys, colour):
    for name, value in colour.items():
        monkeypatch.setenv(name, value)
    assert terminal.main([str(audit), "--out", str(tmp_path / "picture.svg")]) == 0
    assert not capsys.readouterr().out
    svg = (tmp_path / "picture.svg").read_text()
    shown = words(svg)
    assert "$ space demo --concept 'grand piano'" in shown
    assert re.search(r"forget_accuracy │ 100\.0 % │ 12\.5 % │ 0\.0 % to 25\.0 % │ 24 │  lower", shown)
    assert "verdict: fail" in shown
    assert re.search(r'class="[^"]*r3"[^>]*>fail(&#160;)*<', svg)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@font-face|/somewhere", svg)


def test_what_is_no_audit_is_refused(audit, tmp_path, capsys):
    assert terminal.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "picture.svg")]) == 4
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "picture.svg").exists()
