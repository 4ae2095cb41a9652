import json
import sys
import tomllib

import pytest

from benchmarks.league import cells, subjects
from benchmarks.league.bands import by_band
from benchmarks.league.entries import entries
from benchmarks.league.subjects import (
    DEVELOPMENTS,
    SPLITS,
    TESTS,
    Bundled,
    Job,
    Trained,
    chosen,
    open_subjects,
    split,
)
from benchmarks.tables import machine
from benchmarks.weights import digest_of
from benchmarks.zoo.classes import KINDS
from space_cli.core.errors import UsageFault
from space_cli.core.recipe import Concept
from space_cli.core.subspace import LEAK
from tests.benchmarks.made_photographs import photo

NAMES = [f"thing {chr(ord('a') + row)}" for row in range(12)]


@pytest.fixture
def zoo(tmp_path):
    """A folder of the zoo with its photographs, but without weights that know them."""
    for row, name in enumerate(NAMES):
        for half, count in (("train", 4), ("test", 3)):
            for view in range(count):
                path = tmp_path / "data" / half / name.replace(" ", "_") / f"{view}.png"
                photo(path, (10 * row, 20, 30), view)
    folder = tmp_path / "zoo"
    (folder / "llava").mkdir(parents=True)
    (folder / "llava" / "model.safetensors").write_bytes(b"weights")
    (folder / "recipe.json").write_text(json.dumps({"data": str(tmp_path / "data"), "kinds": None, "seed": 0}))
    shares = dict.fromkeys(NAMES, 0.9) | {NAMES[0]: 0.2}
    (folder / "figures.json").write_text(json.dumps({"named, by class": shares}))
    (folder / "concepts.toml").write_text('["thing b"]\nkind = "thing"\n')
    return folder


def test_a_subject_opens_where_the_file_of_kinds_that_taught_it_is_gone(zoo):
    told = json.loads((zoo / "recipe.json").read_text()) | {"kinds": str(zoo / "moved" / "kinds.toml")}
    (zoo / "recipe.json").write_text(json.dumps(told))
    with pytest.raises(UsageFault, match="is no file of kinds"):
        Trained("made", zoo)
    tables = "".join(f'["{name}"]\nkind = "thing"\nhome = "a box"\n' for name in NAMES)
    (zoo / KINDS).write_text(tables)
    assert len(Trained("made", zoo).tests) == TESTS


def test_concepts_are_split_once_whatever_a_checkpoint_knows():
    tests, developments = split(NAMES, "made")
    assert (tests, developments) == split(NAMES[::-1], "made")
    assert sorted(tests + developments) == NAMES
    assert split(NAMES, "objects") != (tests, developments)
    one, other = (chosen((tests, developments), set(NAMES) - {lost}, "made") for lost in (tests[0], developments[0]))
    assert [len(side) for side in one] == [len(side) for side in other] == [TESTS, DEVELOPMENTS]
    assert not {*one[0], *other[0]} & {*one[1], *other[1]}
    with pytest.raises(UsageFault, match="knows 3 of its dev concepts well enough"):
        chosen((tests, developments), {*tests, *developments[:3]}, "made")


def test_sets_with_a_history_keep_their_test_concepts():
    for name, sides in tomllib.loads(SPLITS.read_text("utf-8")).items():
        kinds = tomllib.loads((SPLITS.parents[1] / "zoo" / "kinds" / f"{name}.toml").read_text("utf-8"))
        taught = sorted({told.get("name", folder) for folder, told in kinds.items()})
        assert split(taught, name) == (sides["tests"], sides["developments"])
        assert not {*sides["tests"]} & {*sides["developments"]}
        assert split(NAMES, name) != (sides["tests"], sides["developments"])


def test_the_bundled_subject_keeps_the_test_concepts_of_the_demo():
    found = Bundled()
    assert not {c.name for c in found.tests} & {c.name for c in found.developments}
    assert len(found.tests) == TESTS
    assert found.digest == digest_of(found.model)


def test_a_subject_of_the_zoo_draws_what_it_knows_and_lays_it_out(zoo, tmp_path):
    (subject,) = open_subjects([f"made={zoo}"], [], [])
    concepts = [c.name for c in (*subject.tests, *subject.developments)]
    assert len(set(concepts)) == TESTS + DEVELOPMENTS
    assert NAMES[0] not in concepts
    place = tmp_path / "place"
    place.mkdir()
    subject.lay(subject.tests[0], place, 0)
    assert len(list((place / "forget").iterdir())) == 4
    assert len(list((place / "images").iterdir())) == 4 * (len(NAMES) - 1)
    assert len(list((place / "probe").glob("*/*"))) == 3 * len(NAMES)
    assert tomllib.loads((place / "probe" / "concepts.toml").read_text()) == {"thing b": {"kind": "thing"}}


def test_public_photographs_join_the_pool_unless_they_name_the_concept(zoo, tmp_path):
    extra = tmp_path / "public"
    subject = Trained("made", zoo, None, [extra])
    tested = subject.tests[0].name
    for name in ("n001_lorry", f"n002_{tested.replace(' ', '_')}"):
        photo(extra / f"{name}.png", (1, 2, 3), 0)
    place = tmp_path / "place"
    place.mkdir()
    subject.lay(subject.tests[0], place, 0)
    assert len(list((place / "images").glob("p*.png"))) == 1


def test_seeds_draw_other_photographs_where_there_are_enough(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(subjects, "SHOWN", 1)
    monkeypatch.setattr(subjects, "FORGOTTEN_WITH", 2)
    subject = Trained("made", zoo)
    found = set()
    for seed in range(4):
        place = tmp_path / str(seed)
        place.mkdir()
        subject.lay(subject.tests[0], place, seed)
        assert len(list((place / "forget").iterdir())) == 2
        found.add(b"".join(path.read_bytes() for path in sorted((place / "forget").iterdir())))
    assert len(found) > 1


def test_a_subject_must_be_named_and_of_the_zoo(tmp_path):
    with pytest.raises(UsageFault, match="not NAME=FOLDER"):
        list(open_subjects(["produce"], [], []))
    with pytest.raises(UsageFault, match="no checkpoint of the zoo"):
        list(open_subjects([f"produce={tmp_path}"], [], []))


def test_bands_go_by_rank_of_the_shown():
    nearest = [f"n{row}" for row in range(30)] + ["unseen"]
    shown = [f"n{row}" for row in range(30) for _ in range(2)]
    before = [1.0] * 60
    after = [0.0 if row < 5 else 1.0 for row in range(60)]
    found = by_band(shown, ["unseen", *nearest[:-1]], before, after)
    assert found["1 to 5"] == {"before": 1.0, "after": 0.5, "n": 10}
    assert found["6 to 20"]["after"] == 1.0
    assert sum(band["n"] for band in found.values()) == 60


def test_a_process_tells_its_own_end_time_and_memory():
    big = cells.run([sys.executable, "-c", "x = bytearray(200_000_000); print(len(x))"])
    small = cells.run([sys.executable, "-c", "import sys; sys.stderr.write('error: no'); sys.exit(3)"])
    assert (big.code, big.stdout) == (0, "200000000\n")
    assert (small.code, small.stderr) == (3, "error: no")
    assert big.peak_gb > 0.2


class Fake:
    """Commands that answer without running anything."""

    def __init__(self, codes=None):
        self.codes, self.asked, self.words = codes or {}, [], []

    def __call__(self, words):
        words = list(words)
        stage = words[3]
        self.asked.append(stage)
        self.words = words if stage == "audit" else self.words
        out = ""
        if "--out" in words and not self.codes.get(stage):
            place = cells.Path(words[words.index("--out") + 1])
            place.mkdir(parents=True, exist_ok=True)
            receipt = {"layers": [], "steps": 4, "stopped": "done", "signals": {"holdout_nll": 7.0}}
            receipt |= {"seconds": {"attack_prefill": 2.5}} if stage == "audit" else {}
            (place / "space.json").write_text(json.dumps(receipt))
        if stage == "select" and not self.codes.get(stage):
            place = cells.Path(words[words.index("--workspace") + 1]) / "anchors"
            place.mkdir(parents=True)
            insisted = "--allow-unknown" in words
            (place / "space.json").write_text(json.dumps({"request": {"allow_unknown": insisted}}))
        if stage == "audit":
            out = json.dumps({"verdict": "pass", "scores": {}, "seconds": {"erase": 1.5}, "skipped": {}})
        return cells.Ran(self.codes.get(stage, 0), out, "error: no\n", 2.0, 0.7)


class Laid:
    name, digest, model, encoder, extra = "made", "abc", "llava", "clip", ()

    def lay(self, concept, folder, seed):
        for part in ("images", "forget", "probe"):
            (folder / part).mkdir()


JOB = Job(Laid(), Concept(name="panda", kind="animal", phrase="a panda"), 0)


def computed(monkeypatch, tmp_path, fake, name="npo"):
    monkeypatch.setattr(cells, "run", fake)
    return cells.compute(entries()[name], JOB, cells.Measures(), tmp_path / "cache")


def test_pool_and_anchors_are_made_once_for_all_entries(monkeypatch, tmp_path):
    fake = Fake()
    made = computed(monkeypatch, tmp_path, fake)
    other = computed(monkeypatch, tmp_path, fake, "dcsi")
    assert fake.asked == ["index", "select", "erase", "audit", "erase", "audit"]
    assert cells.key_of(made) != cells.key_of(other)
    assert made["seconds"] == {"erase": 1.5}
    assert made["peak_memory_gb"] == 0.7
    assert made["processor"] == machine()["processor"]
    assert (made["options"]["lr"], other["options"]["leak"]) == (5e-4, LEAK)
    assert made["signals"] == {"holdout_nll": 7.0}
    assert not [path for path in tmp_path.rglob("erased")]


def test_a_pool_with_photographs_of_no_class_is_told_and_never_taken_for_one_without(monkeypatch, tmp_path):
    made = computed(monkeypatch, tmp_path, Fake())
    assert made["public"] == 0
    (images,) = tmp_path.glob("cache/*/*/images")
    (images / "p000001.png").write_bytes(b"")
    with pytest.raises(cells.CellFailure, match="made with another `--pool`"):
        computed(monkeypatch, tmp_path, Fake())
    monkeypatch.setattr(Laid, "extra", ("public",))
    assert computed(monkeypatch, tmp_path, Fake())["public"] == 1


def test_attacks_are_asked_for_and_their_seconds_kept(monkeypatch, tmp_path):
    fake = Fake()
    monkeypatch.setattr(cells, "run", fake)
    measures = cells.Measures((), bands=False, attacks=("prefill", "aliases"))
    made = cells.compute(entries()["dcsi"], JOB, measures, tmp_path / "cache")
    assert fake.words[fake.words.index("--attacks") + 1] == "prefill,aliases"
    assert "--metrics" not in fake.words
    assert made["spent"] == {"attack_prefill": 2.5}
    assert "spent" not in computed(monkeypatch, tmp_path, fake)
    assert "--attacks" not in fake.words


@pytest.mark.parametrize("stage", ["select", "erase"])
def test_a_refusal_is_a_row_with_its_reason(monkeypatch, tmp_path, stage):
    fake = Fake({stage: 3})
    made = computed(monkeypatch, tmp_path, fake)
    assert made["verdict"] == "refused with exit code 3"
    assert (made["reason"], made["refused_by"]) == ("error: no", stage)
    assert made["scores"] == {}
    computed(monkeypatch, tmp_path, fake, "ga")
    assert fake.asked.count("select") == 1


def test_a_concept_that_photographs_show_to_be_known_is_insisted_on(monkeypatch, tmp_path):
    class Doubtful(Fake):
        def __call__(self, words):
            if "select" in words and "--allow-unknown" not in words:
                return cells.Ran(3, "", "error: the checkpoint does not seem to know `panda`\n", 1.0, 0.5)
            return super().__call__(words)

    fake = Doubtful()
    assert computed(monkeypatch, tmp_path, fake)["insisted"] is True
    assert fake.asked == ["index", "select", "erase", "audit"]
    assert computed(monkeypatch, tmp_path / "other", Fake())["insisted"] is False


def test_anchors_of_a_version_that_could_not_insist_are_not_insisted_on(monkeypatch, tmp_path):
    assert computed(monkeypatch, tmp_path, Fake())["insisted"] is False
    kept = next(tmp_path.glob("**/anchors/space.json"))
    kept.write_text(json.dumps({"request": {}}))
    assert computed(monkeypatch, tmp_path, Fake(), "ga")["insisted"] is False


def test_another_failure_is_no_row(monkeypatch, tmp_path):
    with pytest.raises(cells.CellFailure, match="exit code 2: error: no"):
        computed(monkeypatch, tmp_path, Fake({"erase": 2}))
