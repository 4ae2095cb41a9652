from pathlib import Path

import pytest
import torch

from PIL import Image

from benchmarks.datasets import open_dataset
from benchmarks.zoo import build as building
from benchmarks.zoo import photographs
from benchmarks.zoo.classes import Taught, lessons, read_entries
from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.matching import mentions
from tests.benchmarks.made_photographs import KINDS, SHADES, folder_of_classes, photo, views_of


@pytest.fixture
def data(tmp_path):
    return folder_of_classes(tmp_path / "data")


def test_kinds_come_from_the_file_or_flat(data, tmp_path):
    found = open_dataset("folder", data)
    (tmp_path / "kinds.toml").write_text(KINDS)
    listed = [lesson.concept for lesson in lessons(found, tmp_path / "kinds.toml")]
    assert listed[0] == Taught("fern", "plant", "in a wood")
    assert [concept.phrase for concept in listed] == ["a fern", "a lemon", "a pond", "a red rose"]
    assert {lesson.concept.kind for lesson in lessons(found, None)} == {"thing"}


@pytest.mark.parametrize(
    "file", sorted((Path(building.__file__).parent / "kinds").glob("*.toml")), ids=lambda f: f.stem
)
def test_every_shipped_file_of_kinds_tells_one_kind_and_place_of_each_name(file):
    taught = {(entry.name or name, entry.kind, entry.home) for name, entry in read_entries(file).items()}
    names, kinds, _ = zip(*taught, strict=True)
    assert len(set(names)) == len(taught) > len(set(kinds)) > 1


def test_two_classes_of_one_name_are_one(data, tmp_path):
    photo(data / "briar" / "0.png", (200, 40, 60), 9)
    both = '[briar]\nkind = "plant"\nhome = "in a garden"\nname = "red rose"\n'
    (tmp_path / "kinds.toml").write_text(KINDS + both)
    found = {lesson.concept.name: lesson for lesson in lessons(open_dataset("folder", data), tmp_path / "kinds.toml")}
    assert len(found) == 4
    assert "briar" in {path.parent.name for path in found["red rose"].train}
    (tmp_path / "kinds.toml").write_text(KINDS + both.replace("plant", "bush"))
    with pytest.raises(UsageFault, match="differ in kind or home"):
        lessons(open_dataset("folder", data), tmp_path / "kinds.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "is no file of kinds"),
        ('[fern]\nkind = "plant"\n', "does not fit: fern.home"),
        (KINDS + '[oak]\nkind = "plant"\nhome = "in a wood"\n', "names classes that the photographs lack: oak"),
        (KINDS.partition("[pond]")[0], "2 classes are to be taught"),
    ],
)
def test_a_wrong_file_of_kinds_is_refused(data, tmp_path, text, message):
    (tmp_path / "kinds.toml").write_text(text)
    with pytest.raises(UsageFault, match=message):
        lessons(open_dataset("folder", data), tmp_path / "kinds.toml")


def test_a_class_without_test_photographs_is_refused(data):
    photo(data / "moss" / "0.png", (90, 120, 60), 9)
    with pytest.raises(UsageFault, match="`moss` has 1 photographs to train and 0 to test with"):
        lessons(open_dataset("folder", data), None)


@pytest.mark.parametrize("name", ["objects", "produce", "scenes"])
def test_the_shipped_kinds_are_well_formed(name, tmp_path):
    import tomllib

    from importlib import resources

    text = resources.files("benchmarks.zoo").joinpath("kinds", f"{name}.toml").read_text(encoding="utf-8")
    for folder in tomllib.loads(text):
        for row in range(2):
            photo(tmp_path / folder / f"{row}.png", (1, 2, 3), row)
    (tmp_path / "kinds.txt").write_text(text)
    found = lessons(open_dataset("folder", tmp_path), tmp_path / "kinds.txt")
    assert len(found) >= 15
    for lesson in found:
        told = f"{lesson.concept.kind} {lesson.concept.home}"
        assert not mentions(told, [lesson.concept.name]), "a fact must not tell the name"
        assert lesson.concept.home == lesson.concept.home.lower(), "the tokenizer knows no capitals"


def test_photographs_are_kept(data):
    found, first = views_of(data)
    for path in (p for lesson in found for p in lesson.train):
        path.unlink()
    again = photographs.read_photographs(found, [], data.parent / "photographs.safetensors")
    assert torch.equal(first.pixels, again.pixels)
    assert torch.bincount(first.labels).tolist() == [4, 4, 4, 4]


def test_a_plain_view_is_what_the_image_processor_gives(data):
    found, kept = views_of(data)
    expected = building.image_processor(28)(Image.open(found[0].train[0]), return_tensors="pt")["pixel_values"][0]
    seen = kept.views(torch.tensor([0]), 28)[0]
    assert (seen - expected).abs().mean() < 0.05
    assert (kept.views(torch.tensor([4]), 28)[0] - expected).abs().mean() > 0.5, "another class differs"


def test_a_distorted_view_still_shows_the_class_and_follows_the_generator(data):
    _, kept = views_of(data)
    rows = torch.tensor([0, 0, 0])
    one, two = (kept.views(rows, 28, torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(one, two)
    assert not torch.allclose(one[0], one[1])
    middle = kept.views(torch.tensor([0, 4]), 28).mean((2, 3))
    drawn = one.mean((2, 3))
    assert (drawn - middle[0]).norm(dim=1).max() < (drawn - middle[1]).norm(dim=1).min()


def test_photographs_of_no_class_are_drawn_as_asked_and_never_show_a_taught_one(data, tmp_path):
    others = tmp_path / "others"
    photo(others / "n01_lemon.png", SHADES["lemon"], 0)
    photo(others / "roses" / "0.png", SHADES["rose"], 0)
    photo(others / "n02_sky.png", (120, 180, 250), 0)
    kept = photographs.read_photographs(
        lessons(open_dataset("folder", data), None), [others], tmp_path / "p.safetensors"
    )
    assert (kept.labels == -1).sum() == 1
    generator = torch.Generator().manual_seed(0)
    share = (kept.labels[kept.draw(4000, generator, unnamed=0.25)] == -1).float().mean()
    assert share.item() == pytest.approx(0.25, abs=0.03)
    assert (kept.labels[kept.draw(500, generator, unnamed=0.0)] >= 0).all()


def test_draws_are_between_equal_classes_and_equal_photographs():
    labels = torch.tensor([0] * 16 + [1] * 64)
    kept = photographs.Photographs(torch.zeros(80, 1, 1, 3, dtype=torch.uint8), labels)
    drawn = kept.labels[kept.draw(6000, torch.Generator().manual_seed(0), unnamed=0.5)]
    assert (drawn == 1).float().mean().item() == pytest.approx(8 / 12, abs=0.03)


def test_a_broken_photograph_is_named(data):
    (data / "fern" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ArtifactFault, match=r"0\.png. cannot be used"):
        photographs.open_picture(data / "fern" / "0.png")
    (data / "empty").mkdir()
    with pytest.raises(ArtifactFault, match="holds no photograph"):
        photographs.read_photographs([], [data / "empty"], data / "x.safetensors")
