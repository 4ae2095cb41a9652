"""What every document of an audit obeys, whatever its format."""

import json
import re

from dataclasses import replace

import pytest

from audited import HOSTILE, evidence, report, score

from space_cli.core.masking import untraced
from space_cli.core.recipe import AuditRequest
from space_cli.core.records import GateRecord, Run, Source
from space_cli.reports import card, cyclonedx, html, intoto, summary
from space_cli.reports._folder import FORMATS, write_documents

VERDICTS = ("pass", "fail", "inconclusive")
FORMS = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.FILE)


def render(form, verdict="pass", **more):
    return form.render(report(verdict=verdict, **more), evidence().receipt)


@FORMS
def test_equal_audits_give_equal_bytes_without_time_or_host(form):
    later = Run(created="2032-02-02T00:00:00+00:00", seconds=99.0, host={"machine": "other"})
    first = render(form)
    assert first == render(form, run=later, seconds={"forget_accuracy": 1.5})
    for secret in ("2031", "secret-host", "33.25"):
        assert secret not in first


@FORMS
@pytest.mark.parametrize("verdict", VERDICTS)
def test_no_document_speaks_of_more_than_tested_suppression(form, verdict):
    text = render(form, verdict)
    assert not re.search(r"\b(delet|certif|guarant|prove[ns]?\b|complian)", text, re.IGNORECASE)


@FORMS
def test_the_verdict_is_the_records_and_not_made_of_the_rules(form):
    passing = [GateRecord(score="forget_accuracy", rule="forget_accuracy ≤ 0.1", verdict="pass", reason="is 0.05")]
    texts = [render(form, verdict, gates=passing) for verdict in VERDICTS]
    assert len(set(texts)) == 3


@FORMS
@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_names_concept_policy_and_digest(form, verdict):
    text = render(form, verdict)
    assert "panda" in text
    assert "default" in text
    assert form.FILE == "summary.md" or "cd" * 32 in text


@pytest.mark.parametrize("form", [card, intoto], ids=lambda form: form.FILE)
def test_images_of_the_audit_and_of_the_erasure_are_both_told(form):
    told, given = report(), evidence()
    shown = told.model_copy(update={"inputs": [*told.inputs, Source(kind="images", path="/probe", sha256="11" * 32)]})
    used = [*given.receipt.inputs, Source(kind="images", path="/forget", sha256="22" * 32)]
    receipt = given.receipt.model_copy(update={"inputs": used})
    text = form.render(shown, receipt)
    assert "11" * 32 in text
    assert "22" * 32 in text


@pytest.mark.parametrize("folder", [None, "/forget"])
def test_the_page_tells_whether_the_training_saw_pictures_of_the_concept(folder):
    given = evidence(training=[{"step": 1.0, "loss": 0.5}, {"step": 2.0, "loss": 0.25}])
    request = given.receipt.request.model_copy(update={"forget_images": folder})
    text = html.render(report(), replace(given, receipt=given.receipt.model_copy(update={"request": request})))
    assert ("which saw pictures of the concept" in text) == bool(folder)
    assert ("which saw none of the concept" in text) != bool(folder)


@FORMS
def test_a_figure_that_is_no_number_breaks_no_document(form):
    scores = {"fluency": score(float("nan"), low=float("-inf"), high=float("inf"), unit="perplexity")}
    text = render(form, scores=scores)
    if form.FILE.endswith((".json", ".sarif")):
        assert "fluency" in json.dumps(json.loads(text, parse_constant=pytest.fail)) or form.FILE.startswith("attest")


@FORMS
def test_the_least_there_can_be_is_a_document(form):
    bare = report(verdict="inconclusive", scores={}, gates=[], skipped={}, inputs=report().inputs)
    receipt = evidence().receipt.model_copy(update={"files": [], "base_files": [], "layers": []})
    assert form.render(bare, receipt).endswith("\n")


@FORMS
def test_hostile_names_reorder_nothing_where_people_read(form):
    text = form.render(report(HOSTILE, verdict="fail"), evidence(HOSTILE).receipt)
    if form.FILE.endswith((".md", ".xml")):
        assert "\u202e" not in text


def test_a_baseline_stands_beside_and_changes_no_verdict(tmp_path):
    apart = {"difference": -0.5, "difference_low": -0.75, "difference_high": -0.25}
    other = {"forget_accuracy": score(0.625).model_copy(update={"parts": apart})}
    for name, baseline in (("without", {}), ("with", other)):
        (tmp_path / name).mkdir()
        write_documents(tmp_path / name, report(verdict="pass", baseline=baseline), evidence())
    for file in ("model-card.md", "summary.md", "report.html"):
        assert "62.5 %" in (tmp_path / "with" / file).read_text()
        told = (tmp_path / "with" / file).read_text().replace("</small><small>", " ")
        assert re.search(r"-50\.0 points \(?-75\.0 to -25\.0", told), file
        assert "62.5 %" not in (tmp_path / "without" / file).read_text()
    for file in ("junit.xml", "attestation.intoto.json", "bom.cdx.json"):
        assert (tmp_path / "with" / file).read_text() == (tmp_path / "without" / file).read_text()
    # Its properties repeat the whole record, so that `space verify` finds an edited figure of the baseline, too.
    beside, alone = (json.loads((tmp_path / name / "audit.sarif").read_text()) for name in ("with", "without"))
    told = beside["runs"][0]["properties"].pop("baseline")
    assert told["forget_accuracy"]["after"] == 0.625
    assert alone["runs"][0]["properties"].pop("baseline") == {}
    assert beside == alone


def test_the_folder_shows_some_pictures_and_keeps_all_samples(tmp_path):
    many = [replace(sample, path=f"{row}.png") for row in range(30) for sample in evidence().samples]
    write_documents(tmp_path, report(), replace(evidence(), samples=many))
    assert {path.name for path in tmp_path.iterdir()} == {"samples.jsonl", "report.html", *(f.FILE for f in FORMATS)}
    assert len((tmp_path / "samples.jsonl").read_text().splitlines()) == 30
    assert (tmp_path / "report.html").read_text().count("data:image/jpeg") == 12


@pytest.mark.parametrize("form", [card, cyclonedx, html, summary], ids=lambda form: form.__name__)
def test_an_erasure_by_instruction_is_said_to_be_one(form):
    plain = evidence()
    told = plain.receipt.model_copy(update={"instruction": "Forget the panda."})
    texts = [
        form.render(report(), replace(plain, receipt=one) if form is html else one) for one in (plain.receipt, told)
    ]
    assert ["carries an instruction" in text for text in texts] == [False, True]
    assert "Forget the panda" not in texts[1]


@pytest.mark.parametrize("form", [*FORMATS, html], ids=lambda form: form.__name__)
def test_an_audit_that_left_images_out_says_so(form):
    def told(limit):
        one = report(request=AuditRequest(erased="/tmp/erased", limit=limit))
        return form.render(one, evidence() if form is html else evidence().receipt)

    assert "4321" in told(4321)
    assert "4321" not in told(None)


@pytest.mark.parametrize("form", [card, cyclonedx, html, intoto, summary], ids=lambda form: form.__name__)
def test_a_checkpoint_that_was_erased_from_before_says_so(form):
    first = evidence().receipt
    third = first.model_copy(update={"requests": 3, "ledger": "9a" * 32, "meter": "3 requests have spent 4 %"})
    texts = (replace(evidence(), receipt=one) if form is html else one for one in (first, third))
    alone, later = (form.render(report(), text) for text in texts)
    assert "9a" * 32 in later
    assert "9a" * 32 not in alone
    if form is not intoto:
        assert "This is request 3 on the checkpoint" in later
        assert "the result of 2 requests before it" in later
        assert "3 requests have spent 4 %" in later
        assert "request 1 on" not in alone


def test_a_hidden_name_cannot_be_tried_against_the_ledgers_hash():
    receipt = untraced(evidence().receipt.model_copy(update={"requests": 2, "ledger": "9a" * 32}))
    for form in FORMATS:
        assert "9a" * 32 not in form.render(report(), receipt)


def test_the_summary_says_why_something_was_not_measured():
    assert "because of panda" in summary.render(report(), evidence().receipt)
