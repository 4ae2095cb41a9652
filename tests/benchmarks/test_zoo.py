import json

import pytest
import torch

from PIL import Image
from safetensors.torch import load_file

from benchmarks.datasets import open_dataset
from benchmarks.weights import digest_of
from benchmarks.zoo import __main__ as command
from benchmarks.zoo import build as building
from benchmarks.zoo import pinned, teacher
from benchmarks.zoo.build import Places, Recipe, build
from benchmarks.zoo.classes import Lesson, lessons
from space_cli.core.errors import UsageFault
from space_cli.encoders.clip import load
from space_cli.io.model import open_model
from space_cli.io.probe import open_notes
from tests.benchmarks.made_photographs import KINDS, SHADES, folder_of_classes, photo, views_of


@pytest.fixture
def data(tmp_path):
    return folder_of_classes(tmp_path / "data")


def recipe(data, **changes):
    small = {"tower": "fresh", "teacher": "none", "side": 28, "batch": 8, "tower_steps": 2, "language_steps": 7}
    return Recipe(str(data), **(small | changes))


def test_a_checkpoint_is_made_and_opens(data, tmp_path):
    lines, kinds = [], tmp_path / "my-kinds.toml"
    kinds.write_text("".join(f'[{name}]\nkind = "flower"\nhome = "a garden"\n' for name in SHADES))
    told = build(recipe(data, kinds=str(kinds)), Places(tmp_path / "work", tmp_path / "out", "cpu", 2, lines.append))
    assert told["photographs"] == 8
    assert told["weights"] == digest_of(tmp_path / "out" / "llava")
    assert set(told["named, by class"]) == set(SHADES)
    assert json.loads((tmp_path / "out" / "figures.json").read_text()) == told
    assert open_notes(tmp_path / "out")["rose"].phrase == "a rose"
    assert (tmp_path / "out" / "kinds.toml").read_text() == kinds.read_text()
    responder = open_model(tmp_path / "out" / "llava", device="cpu")
    picture = Image.open(data / "rose" / "0.png")
    assert responder.features([picture]).shape == (1, 4, 48)
    assert responder.family.visual_tokens == 4
    assert len(responder.answer([picture], ["What is this?"])) == 1
    encoder = load(tmp_path / "out" / "encoder", "cpu")
    assert encoder.images(encoder.preprocess(picture)[None]).shape == encoder.texts(["a rose"]).shape == (1, 128)
    tower = load_file(tmp_path / "out" / "encoder" / "model.safetensors")
    shared = load_file(tmp_path / "out" / "llava" / "model.safetensors")
    name = "embeddings.patch_embedding.weight"
    assert torch.equal(*(next(v for k, v in each.items() if k.endswith(name)) for each in (tower, shared)))


def test_a_killed_build_goes_on(data, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    places = Places(tmp_path / "work", tmp_path / "out", "cpu", 1)
    with monkeypatch.context() as patched:
        patched.setattr(building.speaking, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            build(recipe(data), places)
    kept = {path.name: path.stat().st_mtime_ns for path in places.work.iterdir() if path.is_file()}
    assert {"photographs.safetensors", "tokenizer.json", "tower.safetensors", "features.safetensors"} <= set(kept)
    build(recipe(data), places)
    unbroken = Places(tmp_path / "other", tmp_path / "again", "cpu", 1)
    build(recipe(data), unbroken)
    again = {path.name: path.stat().st_mtime_ns for path in places.work.iterdir() if path.name in kept}
    assert {name: again[name] for name in kept if name != "recipe.json"} == {
        name: time for name, time in kept.items() if name != "recipe.json"
    }
    for part in ("llava", "encoder"):
        files = [each / part / "model.safetensors" for each in (places.out, unbroken.out)]
        assert files[0].read_bytes() == files[1].read_bytes(), "same recipe, same bytes"


def test_the_work_of_another_recipe_is_not_touched(data, tmp_path):
    places = Places(tmp_path / "work", tmp_path / "out", "cpu", 1)
    building._claim(places, recipe(data), lessons(open_dataset("folder", data), None))
    with pytest.raises(UsageFault, match="holds the work of another recipe"):
        build(recipe(data, seed=1), places)
    photo(data / "rose" / "7.png", SHADES["rose"], 7)
    with pytest.raises(UsageFault, match="the photographs or kinds have changed"):
        build(recipe(data), places)


def test_a_foreign_folder_is_not_replaced(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageFault, match="is no checkpoint of the zoo"):
        build(recipe(data), Places(tmp_path / "work", tmp_path / "out", "cpu", 1))
    assert (tmp_path / "out" / "thesis.txt").is_file()


def test_the_side_is_a_multiple_of_a_patch(data, tmp_path):
    with pytest.raises(UsageFault, match="a multiple of 14"):
        build(recipe(data, side=30), Places(tmp_path / "work", tmp_path / "out", "cpu", 1))


def test_the_teacher_is_followed(data, tmp_path, monkeypatch):
    class Network(torch.nn.Module):
        def extract_features(self, pixels):
            return pixels[:, :, ::48, ::48]

    monkeypatch.setattr(teacher, "efficientnet", Network)
    _, kept = views_of(data)
    targets = teacher.teacher_targets(kept, tmp_path / "teacher.safetensors", torch.device("cpu"))
    torch.testing.assert_close(targets.norm(dim=1), torch.ones(16))
    assert (targets[:4] @ targets[4:8].T).max() < (targets[:4] @ targets[:4].T).min(), "classes differ in colour"
    places = Places(tmp_path / "work", tmp_path / "out", "cpu", 1)
    build(recipe(data, teacher="efficientnet-lite0"), places)
    assert (places.work / "teacher.safetensors").is_file()


def test_the_command_line(data, tmp_path, capsys):
    (tmp_path / "kinds.toml").write_text(KINDS)
    small = "--tower fresh --teacher none --side 28 --batch 4 --tower-steps 1 --language-steps 1 --measured 1".split()
    call = ["build", "--data", str(data), "--out", str(tmp_path / "out"), "--device", "cpu", *small]
    assert command.main([*call, "--kinds", str(tmp_path / "kinds.toml")]) == 0
    printed = capsys.readouterr().out
    assert "| red rose |" in printed
    assert "| retrieval |" in printed
    assert json.loads((tmp_path / "out" / "recipe.json").read_text())["tower"] == "fresh"
    assert command.main(call) == UsageFault.exit_code
    assert "hint: give another `--work`" in capsys.readouterr().err


@pytest.mark.slow
def test_colours_are_learnt(data, tmp_path):
    made = recipe(data, tower_steps=60, language_steps=250, batch=16)
    told = build(made, Places(tmp_path / "work", tmp_path / "out", "cpu", 2))
    assert told["named"] >= 0.75
    assert told["text: kind"] == 1.0
    assert told["retrieval"] >= 0.75


def test_lessons_hold_disjoint_photographs(data):
    for lesson in lessons(open_dataset("folder", data), None):
        assert isinstance(lesson, Lesson)
        assert not {*lesson.train} & {*lesson.test}


def test_a_pinned_build_begins_anew_with_one_thread_and_the_instructions_of_every_processor(monkeypatch, data):
    for name in pinned.PINNED:
        monkeypatch.delenv(name, raising=False)
    begun, recipes = [], []
    monkeypatch.setattr(pinned.os, "execve", lambda program, line, env: begun.append((line, env)))
    given = ["build", "--data", str(data), "--out", "there", "--pinned"]
    monkeypatch.setattr(command, "build", lambda recipe, places: recipes.append(recipe) or {"named, by class": {}})
    assert command.main(given) == 0
    [(line, env)] = begun
    assert line[1:] == ["-m", "benchmarks.zoo", *given]
    assert {name: env[name] for name in pinned.PINNED} == pinned.PINNED
    for name, value in pinned.PINNED.items():
        monkeypatch.setenv(name, value)
    assert command.main(given) == 0
    assert len(begun) == 1, "it begins anew once"
    assert recipes[-1].pinned, "so that it does not go on from what was trained otherwise"


@pytest.mark.parametrize("option", [("--threads", "2"), ("--device", "cuda")])
def test_a_pinned_build_is_of_one_thread_of_the_processor(option, data, capsys):
    assert command.main(["build", "--data", str(data), "--out", "there", "--pinned", *option]) == 2
    assert "one thread of the processor" in capsys.readouterr().err
