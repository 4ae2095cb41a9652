"""Nothing that a command reads is replaced or written into, and that is said before any work."""

import shutil

from pathlib import Path

import pytest

from cli_records import make_anchors, make_chain, make_erased, make_model, make_pool

from space_cli.cli.app import run
from space_cli.cli.outputs import refuse_place
from space_cli.cli.workspace import forbid_existing
from space_cli.core.errors import UsageFault

PLACE = Path(".space")
ERASE = ["erase", "--concept", "panda", "--model", "model"]


@pytest.fixture
def chain(stages):
    """Every folder that a command may read."""
    make_chain(PLACE)
    make_pool(Path("pool"))
    make_anchors(Path("anchors"), PLACE / "pool")
    make_erased(Path("base"), PLACE / "anchors")
    (Path("model") / "deep").mkdir()
    return stages


REFUSED = {
    "index images --out images/pool": "lies inside",
    "index images --workspace images/work": "lies inside",
    "index images --encoder model --out model/pool": "lies inside",
    "index images --out images --overwrite": "is read by this command",
    "select panda --pool pool --out pool --overwrite": "is read by this command",
    "select panda --pool pool --out pool/anchors": "lies inside",
    "select panda --pool pool --model model --out model/anchors": "lies inside",
    "erase --concept panda --model model --out model/erased": "lies inside",
    "erase --concept panda --model model --out model/deep/.hidden": "lies inside",
    "erase --concept panda --model model --workspace model/.space --pool pool": "lies inside",
    "erase --concept panda --model model --out anchors --anchors anchors --overwrite": "is read by this command",
    "erase --concept panda --model model --out .space/pool --overwrite": "is read by this command",
    "erase --concept panda --model model --pool images --out images/erased": "lies inside",
    "audit --out .space/erased --overwrite": "is read by this command",
    "audit --out .space/erased/audit": "lies inside",
    "audit --out .space/anchors --overwrite": "is read by this command",
    "audit --baseline base --out base --overwrite": "is read by this command",
    "audit --images images --out images/audit": "lies inside",
    "revert .space/erased .space/erased --overwrite": "is read by this command",
    "revert .space/erased .space/erased/back": "lies inside",
    "revert .space/erased base --base base --overwrite": "is read by this command",
    "pseudonymize .space/erased --out .space/erased --overwrite": "is read by this command",
    "pseudonymize .space/erased --out .space/anchors --overwrite": "is read by this command",
}


@pytest.mark.parametrize("line", REFUSED)
def test_nothing_that_is_read_is_written_to(chain, monkeypatch, capsys, line):
    monkeypatch.setenv("SPACE_PSEUDONYM_KEY", "k" * 40)
    before = sorted(Path().rglob("*"))
    assert run(line.split()) == 2
    assert REFUSED[line] in capsys.readouterr().err
    assert not chain
    assert sorted(Path().rglob("*")) == before


def test_a_link_is_seen_through(chain, capsys):
    Path("link").symlink_to(Path("model").absolute())
    assert run([*ERASE, "--out", "link/erased"]) == 2
    assert "lies inside" in capsys.readouterr().err


def test_the_hidden_workspace_may_lie_among_pictures(stages):
    assert run(["index", "."]) == 0
    assert (PLACE / "pool" / "space.json").is_file()


def test_what_holds_an_input_is_not_replaced(tmp_path):
    make_model(tmp_path / "out" / "model")
    with pytest.raises(UsageFault, match="holds"):
        refuse_place(tmp_path / "out", [tmp_path / "out" / "model"])
    refuse_place(tmp_path / "new", [tmp_path / "out", None, "some/hub-id"])


@pytest.mark.parametrize("how", ["flag", "environment", "file"])
@pytest.mark.parametrize("command", ["index images", "select panda", " ".join(ERASE), "audit"])
def test_a_tilde_that_no_shell_saw_is_spelt_out(stages, tmp_path, monkeypatch, command, how):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    make_chain(PLACE)
    shutil.rmtree(PLACE / "audit")
    words = command.split()
    if how == "flag":
        words += ["--out=~/x"]
    elif how == "environment":
        monkeypatch.setenv("SPACE_OUT", "~/x")
    else:
        Path("space.toml").write_text('out = "~/x"\n', encoding="utf-8")
    assert run(words) == 0
    assert (tmp_path / "home" / "x" / "space.json").is_file()
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("record", "hint"), [(True, "pass `--overwrite` to replace it"), (False, "remove it, or choose")]
)
def test_only_what_space_wrote_is_offered_to_be_replaced(tmp_path, record, hint):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ("space.json" if record else "letter.txt")).touch()
    with pytest.raises(UsageFault, match="exists already") as fault:
        forbid_existing(tmp_path / "out", overwrite=False)
    assert fault.value.hint.startswith(hint)
