"""Concepts out of photographs that their file names tell apart."""

import shutil

from pathlib import Path

import pytest

from benchmarks.datasets import open_dataset
from benchmarks.zoo import __main__ as command
from benchmarks.zoo.classes import lessons, read_entries
from benchmarks.zoo.group import group
from space_cli.core.errors import UsageFault
from tests.benchmarks.made_photographs import photo

KINDS_FOLDER = Path(command.__file__).parent / "kinds"
KINDS = """
dog = { kind = "pet", home = "in its kennel", wordnet = ["n02084071", "n02085620-n02113978"] }
"big cat" = { kind = "wild animal", home = "in the jungle", wordnet = ["n02125311-n02130308"] }
"""
DOGS = ("n02084071_1_dog.jpg", "n02085620_Chihuahua.jpg", "n02099601_retriever.jpg", "n02113978_hairless.jpg")
CATS = ("n02125311_cougar.jpg", "n02130308_cheetah.jpg")
NEITHER = ("n02114367_wolf.jpg", "n02085619.jpg", "dog.jpg", "n0208562_dog.jpg")


@pytest.fixture
def data(tmp_path):
    for row, name in enumerate((*DOGS, *CATS, *NEITHER)):
        photo(tmp_path / "data" / "flat" / name, (40 * row % 255, 90, 200), row)
    return tmp_path / "data"


@pytest.fixture
def kinds(tmp_path):
    (tmp_path / "kinds.toml").write_text(KINDS)
    return tmp_path / "kinds.toml"


def names_in(folder):
    return {path.name.partition("_")[2] for path in folder.rglob("*.jpg")}


def test_photographs_go_to_the_concept_whose_range_holds_their_id(data, kinds, tmp_path):
    assert group(kinds, [data], tmp_path / "out") == {"dog": 4, "big cat": 2}
    for concept, wanted in (("dog", DOGS), ("big_cat", CATS)):
        halves = [names_in(tmp_path / "out" / half / concept) for half in ("train", "test")]
        assert halves[0] | halves[1] == {*wanted}
        assert not halves[0] & halves[1]
        assert all(halves)
    assert not (tmp_path / "out.part").exists()


def test_a_photograph_in_two_folders_is_taken_once(data, kinds, tmp_path):
    (tmp_path / "again").mkdir()
    shutil.copyfile(data / "flat" / DOGS[1], tmp_path / "again" / "n02085620_99_dog.jpg")
    assert group(kinds, [data, tmp_path / "again"], tmp_path / "out")["dog"] == 4


def test_names_of_files_tell_varieties_and_the_set_keeps_its_halves(tmp_path):
    for row in range(3):
        photo(tmp_path / "data" / "train" / "orange" / f"Orange_{row:03d}.jpg", (250, 140, row), row)
        photo(tmp_path / "data" / "train" / "pepper" / f"Orange-Bell-Pepper_{row:03d}.jpg", (250, 90, row), 10 + row)
    for row in (3, 4):
        photo(tmp_path / "data" / "test" / "orange" / f"Orange_{row:03d}.jpg", (250, 140, row), row)
        photo(tmp_path / "data" / "test" / "pepper" / f"Orange-Bell-Pepper_{row:03d}.jpg", (250, 90, row), 10 + row)
    kinds = tmp_path / "kinds.toml"
    kinds.write_text(
        'orange = { kind = "fruit", home = "in a grove", files = ["Orange"] }\n'
        '"bell pepper" = { kind = "vegetable", home = "in a house", files = ["Orange-Bell-Pepper"] }\n'
    )
    assert group(kinds, [tmp_path / "data"], tmp_path / "out") == {"orange": 5, "bell pepper": 5}
    for concept, begins in (("orange", "Orange_"), ("bell_pepper", "Orange-Bell-Pepper_")):
        halves = [names_in(tmp_path / "out" / half / concept) for half in ("train", "test")]
        assert halves == [{f"{begins}{row:03d}.jpg" for row in rows} for rows in ((0, 1, 2), (3, 4))]


def test_a_set_with_one_half_alone_is_refused(tmp_path):
    for row in range(3):
        photo(tmp_path / "data" / "train" / f"Orange_{row:03d}.jpg", (250, 140, row), row)
    (tmp_path / "kinds.toml").write_text('orange = { kind = "fruit", home = "in a grove", files = ["Orange"] }\n')
    with pytest.raises(UsageFault, match="3 photographs to train and 0 to test with"):
        group(tmp_path / "kinds.toml", [tmp_path / "data"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folders_and_the_file_are_what_build_reads(data, tmp_path):
    for row in range(4):
        photo(data / "more" / f"n0450000{row}_{row}.jpg", (row * 60, 200, 30), 20 + row)
        photo(data / "more" / f"n0460000{row}_{row}.jpg", (row * 60, 20, 130), 30 + row)
    more = (
        'lamp = { kind = "thing", home = "on a desk", wordnet = ["n04500000-n04500003"] }\n'
        'hat = { kind = "thing", home = "on a rack", wordnet = ["n04600000-n04600009"] }\n'
    )
    (tmp_path / "kinds.toml").write_text(KINDS + more)
    said = command.main(
        ["group", "--data", str(data), "--kinds", str(tmp_path / "kinds.toml"), "--out", str(tmp_path / "out")]
    )
    found = lessons(open_dataset("folder", tmp_path / "out"), tmp_path / "kinds.toml")
    assert said == 0
    assert {one.concept.phrase: len(one.train + one.test) for one in found} == {
        "a big cat": 2, "a dog": 4, "a hat": 4, "a lamp": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('fox = { kind = "a", home = "b" }\n', "says of `fox` neither `wordnet` ids nor `files`"),
        ('fox = { kind = "a", home = "b", wordnet = ["dog"] }\n', "`dog` of `fox` is no WordNet id"),
        ('fox = { kind = "a", home = "b", wordnet = ["n02120505-n02119022"] }\n', "is no WordNet id and no range"),
        ('fox = { kind = "a", home = "b", wordnet = ["n02099601"] }\n', "lets `n02099601` be both `dog` and `fox`"),
        ('fox = { kind = "a", home = "b", wordnet = ["n02119022"] }\n', "0 photographs of `fox`: at least 2"),
        (
            'fox = { kind = "a", home = "", files = ["Red"] }\nhen = { kind = "a", home = "", files = ["Red_Hen"] }\n',
            "lets `Red_Hen_…` be both `fox` and `hen`",
        ),
    ],
)
def test_a_wrong_file_is_refused_and_leaves_nothing(data, kinds, tmp_path, text, message):
    kinds.write_text(KINDS + text)
    with pytest.raises(UsageFault, match=message):
        group(kinds, [data], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_earlier_folder_is_not_touched(data, kinds, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    wrong = command.main(["group", "--data", str(data), "--kinds", str(kinds), "--out", str(tmp_path / "out")])
    assert wrong == 2
    assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["everyday", "varieties"])
def test_the_shipped_concepts_do_not_overlap_and_are_enough(name):
    file = KINDS_FOLDER / f"{name}.toml"
    entries = read_entries(file)
    with pytest.raises(UsageFault, match="0 photographs of"):  # all were read and found apart before that
        group(file, [], file.with_name("never"))
    assert len(entries) >= 30
    assert all((entry.wordnet or entry.files) and entry.kind and entry.home for entry in entries.values())
