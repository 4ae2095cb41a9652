"""A pseudonymized audit names and shows the concept nowhere: every byte, file name and stream is searched."""

import json

import pytest

from auditing import QUICK, layered
from erased_folder import make_edits, make_erased
from fakes import Table, knowing, ranking
from hidden_names import TOLD, telling, telling_files

from space_cli.cli.app import run
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import Concept
from space_cli.core.records import FileRecord
from space_cli.io.artifact import digest_file, open_artifact
from space_cli.reports._folder import FORMATS
from space_cli.stages import audit as stage

KEY = "0123456789abcdef" * 4
NAMES = ["panda", "giant panda", "bamboo bear"]
CALLED = {"panda": "1", "Panda": "2"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPACE_PSEUDONYM_KEY", KEY)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


@pytest.fixture
def talkative(erased, images, monkeypatch):
    """Let the checkpoint before erasing name the concept in many ways, and the notes know one more alias."""
    notes = images / "concepts.toml"
    notes.write_text(notes.read_text().replace('["giant panda"]', '["giant panda", "bamboo bear"]'))
    (images / "panda" / "00.png").rename(images / "panda" / "Giant Panda eating.png")
    plain, opened = knowing(), stage.open_model

    def say(name, question):
        return TOLD[len(question) % len(TOLD)] if name == "panda" and "kind" not in question else plain(name, question)

    base = Table(say, ranking())
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: base if place.name == "base" else opened(place, device=device)
    )
    return erased


def audit(erased, *more):
    metrics = [word for name in QUICK for word in ("--metrics", name)]
    return run(["audit", str(erased), "--images", "images", "--out", "report", "--exit-zero", *metrics, *more])


def test_the_search_finds_what_an_open_audit_tells(talkative, place, capsys):
    assert audit(talkative) == 0
    told = telling_files(place / "report", NAMES)
    assert {"space.json", "report.html", "samples.jsonl", *(form.FILE for form in FORMATS)} == set(told)
    shown = capsys.readouterr()
    assert telling(shown.out.encode(), NAMES)


@pytest.mark.parametrize("output", [[], ["--json"], ["-q"], ["--dry-run"]])
def test_nothing_tells_the_concept(talkative, place, capsys, output):
    assert audit(talkative, "--pseudonymize", *output) == 0
    shown = capsys.readouterr()
    assert telling(shown.out.encode() + shown.err.encode(), NAMES) == []
    if output == ["--dry-run"]:
        assert not (place / "report").exists()
        return
    assert telling_files(place / "report", NAMES) == {}
    report = open_artifact(place / "report", "audit")
    wanted = Pseudonym(Concept(name="panda"), KEY.encode())
    assert report.concept.name == wanted.text
    assert report.concept.aliases == (wanted.of("giant panda"), wanted.of("bamboo bear"))
    assert report.pseudonymized.key_id == wanted.key_id
    assert KEY not in (place / "report" / "space.json").read_text()
    assert "forget_accuracy" in report.scores  # what is measured is measured all the same
    rows = [json.loads(line) for line in (place / "report" / "samples.jsonl").read_text().splitlines()]
    assert wanted.text in next(row for row in rows if row["role"] == "forget")["before"]


def test_files_named_like_the_concept_are_named_otherwise_and_keep_their_digests(talkative, place, monkeypatch):
    for check in ("check_recorded", "refuse_not_made_of"):
        monkeypatch.setattr(stage, check, lambda *_: None)
    record = open_artifact(talkative, "erased")
    named = [FileRecord(path=f"{name}-lora.gguf", sha256=digit * 64, bytes=1) for name, digit in CALLED.items()]
    changed = record.model_copy(update={"base_files": [*record.base_files, *named]})
    (talkative / "space.json").write_text(changed.model_dump_json())
    assert audit(talkative, "--pseudonymize") == 0
    assert telling_files(place / "report", NAMES) == {}
    bom = (place / "report" / "bom.cdx.json").read_text()
    hidden = Pseudonym(Concept(name="panda"), KEY.encode()).text
    assert all(f'"{name}-lora.gguf"' in bom for name in (hidden, f"2-{hidden}"))
    assert all(digit * 64 in bom for digit in CALLED.values())


def test_no_picture_of_the_concept_is_shown_and_the_page_says_so(talkative, place):
    assert audit(talkative, "--pseudonymize") == 0
    page = (place / "report" / "report.html").read_text()
    assert page.count("data:image/jpeg") == 6 + 6
    assert page.count("picture left out") == 12
    assert "pictures of the concept are left out" in page
    assert "This report is pseudonymized" in page


def test_the_scores_are_those_of_an_open_audit(talkative, place):
    assert audit(talkative) == audit(talkative, "--pseudonymize", "--overwrite") == 0
    closed = open_artifact(place / "report", "audit")
    assert audit(talkative, "--overwrite") == 0
    opened = open_artifact(place / "report", "audit")
    assert {name: one.after for name, one in closed.scores.items()} == {
        n: one.after for n, one in opened.scores.items()
    }
    assert closed.verdict == opened.verdict


def test_it_is_not_taken_for_an_open_audit_nor_made_twice(talkative, place, capsys):
    assert audit(talkative) == 0
    assert audit(talkative, "--pseudonymize") == 2
    assert audit(talkative, "--pseudonymize", "--overwrite") == 0
    capsys.readouterr()
    # The images' own path names nothing, so that the report can be told to be of the same request.
    assert audit(talkative, "--pseudonymize") == 0
    assert "reused" in capsys.readouterr().err


def test_verify_passes_on_a_pseudonymized_audit(talkative, place, capsys):
    assert audit(talkative, "--pseudonymize") == 0
    capsys.readouterr()
    assert run(["verify", "report"]) == 0
    assert telling(capsys.readouterr().out.encode(), NAMES) == []


@pytest.mark.parametrize("key", [None, "", "short"])
@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_missing_empty_or_short_key_is_refused(talkative, place, monkeypatch, capsys, key, source):
    monkeypatch.delenv("SPACE_PSEUDONYM_KEY")
    more = []
    if source == "environment" and key is not None:
        monkeypatch.setenv("SPACE_PSEUDONYM_KEY", key)
    if source == "file":
        more = ["--pseudonym-key-file", "key"]
        if key is not None:
            (place / "key").write_text(key + "\n")
    assert audit(talkative, "--pseudonymize", *more) == 2
    assert "key for pseudonyms" in (told := capsys.readouterr().err) or "needs a key" in told
    assert not (place / "report").exists()


def test_the_key_in_a_file_goes_before_the_environment(talkative, place):
    (place / "key").write_bytes(b"f" * 40 + b"\n")
    assert audit(talkative, "--pseudonymize", "--pseudonym-key-file", "key") == 0
    report = open_artifact(place / "report", "audit")
    assert report.concept.name == Pseudonym(Concept(name="panda"), b"f" * 40).text


def test_a_place_that_names_the_concept_is_refused(talkative, place, capsys):
    assert run(["audit", str(talkative), "--pseudonymize", "--out", "audit-of-pandas"]) == 2
    assert telling(capsys.readouterr().err.encode(), NAMES) == []
    assert not (place / "audit-of-pandas").exists()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (("--images", "panda-probe"), 2),
        (("--policy", "panda.toml"), 2),
        (("--baseline", "without-panda"), 4),
        (("--input", "panda-base"), 2),
        (("--metrics", "panda"), 2),
        (("--set", "panda=1"), 2),
        (("--pseudonym-key-file", "panda.key"), 2),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, tuple) else "",
)
def test_a_wrong_option_that_names_the_concept_is_not_repeated(talkative, place, capsys, given, code):
    assert run(["audit", str(talkative), "--pseudonymize", "--out", "report", *given]) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert telling(said.encode(), NAMES) == []


def test_errors_name_nothing_and_keep_their_exit_code(talkative, place, images, capsys):
    (images / "panda").rename(images / "cat")
    (images / "cat" / "01.png").rename(images / "cat" / "panda.png")
    assert audit(talkative, "--pseudonymize") == 2
    said = capsys.readouterr().err
    assert "has no images of `concept-" in said
    assert telling(said.encode(), NAMES) == []
    assert telling_files(place / ".report.partial", NAMES) == {}


def test_a_bug_of_ours_names_nothing(talkative, place, monkeypatch, capsys):
    def broken(folder):
        raise RuntimeError("no idea what a Giant Panda is")

    monkeypatch.setattr(stage, "open_training", broken)
    assert audit(talkative, "--pseudonymize", "--debug") == 1
    said = capsys.readouterr().err
    assert "RuntimeError: no idea what a concept-" in said
    assert telling(said.encode(), NAMES) == []


def test_the_summary_of_a_job_names_nothing(talkative, place, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place / "page.md"))
    assert audit(talkative, "--pseudonymize") == 0
    assert "concept-" in (place / "page.md").read_text()
    assert telling((place / "page.md").read_bytes(), NAMES) == []


@pytest.fixture
def twice(talkative, tmp_path, monkeypatch):
    """The koala erased after the panda; the checkpoint between them names both, and so does the last one."""
    folder = make_erased(tmp_path / "twice", talkative, edits=make_edits(0.5), concept=Concept(name="koala"))
    told = {
        talkative: Table(telling_both("This is a koala, no Giant Pandas."), ranking("panda")),
        folder: Table(telling_both("A BAMBOO-BEAR?"), ranking("panda", "koala")),
    }
    told[folder].model = layered()
    opened = stage.open_model
    monkeypatch.setattr(
        stage, "open_model", lambda place, *, device: told[place] if place in told else opened(place, device=device)
    )
    return folder


def telling_both(of_the_koala):
    plain = knowing("panda")
    return lambda name, question: of_the_koala if name == "koala" and "kind" not in question else plain(name, question)


BOTH = [*NAMES, "koala"]
AGAIN = ("--metrics", "rebound", "--metrics", "history")


def test_the_search_finds_both_concepts_in_an_open_audit_of_the_second(twice, place):
    assert audit(twice, *AGAIN) == 0
    told = telling_files(place / "report", BOTH)
    assert {"panda", "koala"} <= {name for names in told.values() for name in names}
    assert digest_file(place / "erased" / "space" / "ledger.jsonl") in (place / "report" / "bom.cdx.json").read_text()


@pytest.mark.parametrize("folder", ["panda", "giant panda"])
@pytest.mark.parametrize("output", [[], ["--json"], ["-q"], ["--dry-run"]])
def test_nothing_tells_what_earlier_requests_erased(twice, place, images, capsys, output, folder):
    (images / "panda").rename(images / folder)
    assert audit(twice, *AGAIN, "--pseudonymize", *output) == 0
    shown = capsys.readouterr()
    assert telling(shown.out.encode() + shown.err.encode(), BOTH) == []
    if output == ["--dry-run"]:
        return
    assert telling_files(place / "report", BOTH) == {}
    report = open_artifact(place / "report", "audit")
    wanted = Pseudonym(Concept(name="koala"), KEY.encode())
    assert report.concept.name == wanted.text
    assert f"least: {wanted.of('panda')}" in report.scores["history"].note
    assert report.scores["history"].note.endswith("1 of 1 concepts on images")
    rows = [json.loads(line) for line in (place / "report" / "samples.jsonl").read_text().splitlines()]
    assert {row["name"] for row in rows}.isdisjoint({wanted.of("panda"), wanted.of("giant panda")})
    assert wanted.of("panda") in next(row for row in rows if row["role"] == "forget")["before"]


def test_no_digest_in_a_hidden_report_covers_a_text_that_names_an_earlier_concept(twice, place):
    """Who tries names could make the ledger of the base with each of them, and compare."""
    assert audit(twice, *AGAIN, "--pseudonymize") == 0
    told = "".join(path.read_text() for path in (place / "report").iterdir())
    assert digest_file(place / "erased" / "model-00001-of-00002.safetensors") in told
    written = [path for path in (place / "erased" / "space").rglob("*") if path.is_file()]
    assert written
    assert not any(digest_file(path) in told for path in written)


def test_what_a_digest_in_a_hidden_report_covers_cannot_be_made_again_from_all_that_is_told(twice, place):
    """The digests of receipts are told, so that a report can be walked back; a salt that nothing tells is in them."""
    assert audit(twice, *AGAIN, "--pseudonymize") == 0
    told = "".join(path.read_text() for path in (place / "report").iterdir())
    for folder in (twice, place / "erased"):
        assert digest_file(folder / "space.json") in told
        salt = json.loads((folder / "space.json").read_text())["salt"]
        assert len(salt) == 32
        assert salt not in told


def test_an_earlier_concept_in_the_place_to_write_to_is_refused(twice, place, capsys):
    assert run(["audit", str(twice), "--pseudonymize", "--out", "audit-after-pandas"]) == 2
    assert telling(capsys.readouterr().err.encode(), BOTH) == []


def test_a_broken_ledger_of_a_hidden_audit_is_refused(twice, place, capsys):
    (twice / "space" / "ledger.jsonl").write_text('{"concept": "panda"}\n')
    assert audit(twice, "--pseudonymize") == 4
    assert telling(capsys.readouterr().err.encode(), BOTH) == []
