"""`--forget-images`: who may give it, who must, and what the demo does without it."""

import pytest

from PIL import Image

from space_cli.bundled.demo import FORGET_SEED, FORGET_VIEWS, POOL_SEED, PROBE_SEED, SEED_STRIDE, write_forget
from space_cli.cli.app import run

LINE = ["erase", "--concept", "panda", "--model", "model", "--pool", "images"]


@pytest.fixture
def place(stages, tmp_path):
    """An empty folder, and one with an image."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "pandas").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pandas" / "a.png")
    return stages


@pytest.fixture
def demo_parts(place, monkeypatch, tmp_path):
    """Replace the bundled pictures and weights by empty folders."""
    drawn = []

    def write(folder, concept, *, seed):
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def forget(folder, concept, *, seed):
        drawn.append((concept, seed))
        return write(folder, concept, seed=seed)

    monkeypatch.setattr("space_cli.bundled.demo.write_pool", write)
    monkeypatch.setattr("space_cli.bundled.demo.write_probe", write)
    monkeypatch.setattr("space_cli.bundled.demo.write_forget", forget)
    monkeypatch.setattr("space_cli.bundled.checkpoint.weights_folder", lambda: tmp_path)
    monkeypatch.setattr("space_cli.bundled.checkpoint.checkpoint_folder", lambda: tmp_path / "model")
    monkeypatch.setattr("space_cli.bundled.checkpoint.encoder_folder", lambda: tmp_path / "model")
    return place, drawn


def erasure(calls):
    return next(request for name, request, _ in calls if name == "erase")


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--method", "ga"], "the method `ga` needs images of the concept", "--forget-images"),
        (["--method", "mmunlearner"], "the method `mmunlearner` needs images", "--forget-images"),
        (["--forget-images", "pandas"], "the method `dcsi` is source-free", "--set oracle=true"),
        (["--method", "space-paper", "--forget-images", "pandas"], "`space-paper` is source-free", "--forget-images"),
        (["--method", "prompt", "--forget-images", "pandas"], "`prompt` is source-free", "--forget-images"),
        (["--method", "ga", "--forget-images", "nowhere"], "is not a folder of images", "PNG"),
        (["--method", "ga", "--forget-images", "empty"], "holds no image", "PNG"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_stage_runs(place, capsys, words, message, hint, extra):
    assert run([*LINE, *words, *extra]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert hint in shown
    assert not place


def test_the_folder_reaches_the_stage_as_an_absolute_path(place, tmp_path):
    assert run([*LINE, "--method", "ga", "--forget-images", "pandas"]) == 0
    assert erasure(place).forget_images == str(tmp_path / "pandas")


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ([], "the method `dcsi` has no choice of the tokens", "methods that have it: ga, ga-diff, kl-min, mmunlearner"),
        (["--method", "prompt"], "the method `prompt` has no choice of the tokens", "leave out `--loss-on`"),
        (
            ["--method", "ga", "--forget-images", "pandas", "--set", "loss_on=answer"],
            "`--loss-on all` and `--set loss_on=answer` contradict each other",
            "leave one of them out",
        ),
        (["--method", "nothing"], "unknown method `nothing`", "space list methods"),
    ],
)
def test_tokens_that_count_are_refused_where_they_do_not_fit(place, capsys, words, message, hint, extra):
    assert run([*LINE, *words, "--loss-on", "all", *extra]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert hint in shown
    assert not place


@pytest.mark.parametrize("method", ["ga", "ga-diff", "kl-min", "po", "npo", "siu", "mmunlearner"])
def test_tokens_that_count_are_an_option_of_the_method(place, method):
    words = [*LINE, "--method", method, "--forget-images", "pandas", "--set", "steps=3"]
    assert run([*words, "--loss-on", "all"]) == 0
    assert erasure(place).options == {"steps": 3, "loss_on": "all"}


def test_tokens_that_count_may_be_said_twice_and_come_from_the_environment(place, monkeypatch):
    words = [*LINE, "--method", "ga", "--forget-images", "pandas"]
    assert run([*words, "--set", "loss_on=all", "--loss-on", "all"]) == 0
    assert erasure(place).options == {"loss_on": "all"}
    place.clear()
    monkeypatch.setenv("SPACE_LOSS_ON", "answer")
    assert run([*words, "--overwrite"]) == 0
    assert erasure(place).options == {"loss_on": "answer"}


def test_the_folder_may_come_from_the_environment(place, tmp_path, monkeypatch):
    monkeypatch.setenv("SPACE_FORGET_IMAGES", "pandas")
    assert run([*LINE, "--method", "npo"]) == 0
    assert erasure(place).forget_images == str(tmp_path / "pandas")


def test_the_demo_draws_images_for_a_method_that_needs_them(demo_parts, tmp_path):
    calls, drawn = demo_parts
    assert run(["demo", "--method", "ga", "--seed", "2"]) == 0
    assert drawn == [("panda", 2)]
    assert erasure(calls).forget_images == str(tmp_path / ".space" / "demo-panda" / "forget")


def test_the_demo_takes_a_persons_images_and_draws_none_for_others(demo_parts, tmp_path, capsys):
    calls, drawn = demo_parts
    assert run(["demo", "--method", "ga", "--forget-images", "pandas"]) == 0
    assert erasure(calls).forget_images == str(tmp_path / "pandas")
    calls.clear()
    assert run(["demo"]) == 0
    assert erasure(calls).forget_images is None
    assert not drawn
    assert run(["demo", "--forget-images", "pandas"]) == 2
    assert "source-free" in capsys.readouterr().err


def test_drawn_images_are_nobody_elses(tmp_path):
    ranges = [range(first, first + SEED_STRIDE) for first in (POOL_SEED, PROBE_SEED, FORGET_SEED)]
    assert not set(ranges[2]) & {*ranges[0], *ranges[1]}
    assert min(ranges[2]) >= 1_000 > FORGET_VIEWS
    one, other = (write_forget(tmp_path / str(seed), "owl", seed=seed) for seed in (0, 1))
    assert len(list(one.iterdir())) == FORGET_VIEWS
    assert (one / "00.png").read_bytes() != (other / "00.png").read_bytes()
