"""The CI templates, without their servers: the schemas of both forges, and their scripts run as they stand."""

import os
import re
import shlex
import subprocess
import sys

from pathlib import Path

import pytest
import typer

from cli_records import make_audit, make_chain, sealed
from ruamel.yaml import YAML

from space_cli.cli.app import app
from space_cli.core.examining import every_score
from space_cli.io.probe import open_policy

ROOT = Path(__file__).parent.parent.parent
ACTION, GITLAB = ROOT / "ci" / "action.yml", ROOT / "ci" / "gitlab.yml"
EMPTY = ("IMAGES", "METRICS", "ATTACKS", "BASELINE", "INPUTS", "KEY", "CONCEPT", "ALIASES")
ACTION_VARIABLES = dict.fromkeys(EMPTY, "") | {"POLICY": "default", "PSEUDONYMIZE": "false"}
OPTIONAL = {"--images", "--metrics", "--attacks", "--baseline", "--pseudonymize"}


def opened(path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def steps():
    return {step.get("name", step.get("uses")): step for step in opened(ACTION)["runs"]["steps"]}


def job():
    return opened(GITLAB)[".space-audit"]


def scripts():
    found = {name: step["run"] for name, step in steps().items() if "run" in step}
    return found | {"gitlab": "\n".join((*job()["before_script"], *job()["script"]))}


@pytest.fixture
def bash(tmp_path, child_environment):
    """Run a script in an empty folder with `space` of this very tree on the path."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "space").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m space_cli "$@"\n')
    (tools / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)

    def run(script, shell=("bash", "-eo", "pipefail"), **variables):
        environment = child_environment | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"} | variables
        return subprocess.run(
            [*shell, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def audited(tmp_path):
    """Leave a finished audit that answers the request of the templates, so that none has to be measured."""

    def make(verdict):
        make_chain(tmp_path)
        record = make_audit(tmp_path / "audit", tmp_path / "erased", verdict=verdict)
        policy = tmp_path / "policy.toml"  # no shipped one: by that the verdict would be judged again
        policy.write_text('name = "ours"\n[[rule]]\nscore = "retain_kl"\nat_most = 1\n')
        request = record.request.model_copy(update={"policy": str(policy)})
        digest = open_policy(str(policy), known=every_score())[1]
        record = record.model_copy(update={"request": request, "policy_sha256": digest})
        (tmp_path / "audit" / "summary.md").write_text("## audited\n")
        sealed(tmp_path / "audit", record)
        return tmp_path / "erased"

    return make


@pytest.mark.parametrize(
    ("path", "arguments", "change"),
    [
        (ACTION, ["--builtin-schema", "vendor.github-actions"], ("using: composite", "using: x")),
        (
            GITLAB,
            ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
            ("when: always", "when: x"),
        ),
    ],
    ids=["github", "gitlab"],
)
def test_a_template_fits_the_schema_of_its_forge(path, arguments, change, tmp_path):
    # As a job that runs: a hidden one, with a dot, may be anything.
    text = path.read_text(encoding="utf-8").replace("\n.space-audit:", "\nspace-audit:")
    fits = []
    for name, content in (("right.yml", text), ("wrong.yml", text.replace(*change))):
        (tmp_path / name).write_text(content, encoding="utf-8")
        command = [sys.executable, "-m", "check_jsonschema", *arguments, tmp_path / name]
        fits.append(subprocess.run(command, capture_output=True, check=False).returncode)
    assert fits == [0, 1]


def test_every_script_is_a_script(bash):
    for name, script in scripts().items():
        done = bash(script, shell=("bash", "-n"))
        assert done.returncode == 0, f"{name}: {done.stderr}"


def test_every_command_and_option_of_the_templates_exists():
    commands = typer.main.get_command(app).commands
    used = re.findall(r"^\s*space ([a-z]+)", "\n".join(scripts().values()), flags=re.MULTILINE)
    assert used == ["audit", "audit"]
    known = {spelling for parameter in commands["audit"].params for spelling in parameter.opts}
    lines = [line for line in "\n".join(scripts().values()).splitlines() if "pip install" not in line]
    options = set(re.findall(r"(?<![\w-])--[a-z-]+", "\n".join(lines)))
    assert options >= OPTIONAL | {"--out", "--policy", "--exit-zero"}
    assert options <= known
    for script in (steps()["Audit"]["run"], "\n".join(job()["script"])):
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", script)) >= OPTIONAL


def test_inputs_reach_a_script_as_variables_only():
    for name, step in steps().items():
        assert "${{" not in step.get("run", ""), name
    audit = steps()["Audit"]
    inputs = set(re.findall(r"inputs\.([a-z-]+)", " ".join(audit["env"].values())))
    assert inputs <= set(opened(ACTION)["inputs"])
    assert {f"${name}" for name in audit["env"]} <= set(re.findall(r"\$[A-Z]+", audit["run"]))


GIVEN = {
    "IMAGES": "my images",
    "METRICS": "fluency",
    "ATTACKS": "jailbreak,quantize",
    "BASELINE": "before",
    "PSEUDONYMIZE": "true",
    "INPUTS": "checkpoint=./my llava;pool=./pool",
    "CONCEPT": "grand piano",
    "ALIASES": "concert grand;Flügel",
}
QUIET = ("INPUTS", "CONCEPT", "ALIASES")
"""Of these, what is no argument: a list, which the environment separates, and what every process could read there."""


def heard(tmp_path):
    """Return the options that `told` was given, without those that every audit gets, and what its environment held."""
    *options, inputs, concept, aliases, key = (tmp_path / "heard").read_text().splitlines()
    assert "--overwrite" in options, "a finished audit that lies in the repository is not believed"
    usual = ["audit", "erased", "--out", "audit", "--overwrite", "--policy", "default", "--exit-zero", "--json"]
    assert [word for word in usual if word in options] == [word for word in options if word in usual]
    return [word for word in options if word not in usual], (inputs, concept, aliases, key)


@pytest.fixture
def told(bash, tmp_path):
    """Put a `space` in place of ours that keeps what it was told, and answers as an audit does."""
    told = """#!/bin/sh
set -- "$@" "${SPACE_INPUT-none}" "${SPACE_CONCEPT-none}" "${SPACE_ALIAS-none}" "${SPACE_PSEUDONYM_KEY-none}"
printf '%s\\n' "$@" > heard
echo '{"verdict": "pass"}'
"""
    (tmp_path / "tools" / "space").write_text(told)
    return bash


@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_what_a_job_is_given_reaches_the_audit(told, tmp_path, forge):
    for given in ({}, GIVEN):
        if forge == "github":
            places = {"GITHUB_OUTPUT": str(tmp_path / "output"), "RUNNER_TEMP": str(tmp_path)}
            variables = ACTION_VARIABLES | places | {"ERASED": "erased", "OUT": "audit"} | given
            done = told(steps()["Audit"]["run"], **variables)
        else:
            variables = {name: str(value) for name, value in job()["variables"].items()} | {"AUDIT_ERASED": "erased"}
            variables |= {f"AUDIT_{name}": value for name, value in given.items()}
            done = told("\n".join(job()["script"]), shell=("sh", "-e"), **variables)
        assert done.returncode == 0, done.stderr
        open_ones = {name: value for name, value in given.items() if name not in {"PSEUDONYMIZE", *QUIET}}
        named = {f"--{name.lower()}": value for name, value in open_ones.items()}
        options, environment = heard(tmp_path)
        assert environment == (*(given.get(name, "none") for name in QUIET), "none")
        assert sorted(options) == sorted([*named, *named.values(), *(["--pseudonymize"] if given else [])])


@pytest.mark.parametrize("value", ["True", "TRUE", "yes", "1"])
@pytest.mark.parametrize("forge", ["github", "gitlab"])
def test_a_misspelt_wish_to_hide_the_name_stops_the_job(told, tmp_path, forge, value):
    if forge == "github":
        places = {"GITHUB_OUTPUT": str(tmp_path / "output"), "RUNNER_TEMP": str(tmp_path)}
        variables = ACTION_VARIABLES | places | {"ERASED": "erased", "OUT": "audit", "PSEUDONYMIZE": value}
        done = told(steps()["Audit"]["run"], **variables)
    else:
        variables = {name: str(value) for name, value in job()["variables"].items()}
        variables |= {"AUDIT_ERASED": "erased", "AUDIT_PSEUDONYMIZE": value}
        done = told("\n".join(job()["script"]), shell=("sh", "-e"), **variables)
    assert (done.returncode, (tmp_path / "heard").exists()) == (2, False)
    assert f"`{value}`: it must be true or false" in done.stderr


def test_only_a_plain_false_leaves_the_gate_out():
    assert steps()["Gate"]["if"] == "inputs.gate != 'false'"


def test_the_key_of_a_pseudonym_is_no_argument(told, tmp_path):
    places = {"GITHUB_OUTPUT": str(tmp_path / "output"), "RUNNER_TEMP": str(tmp_path)}
    variables = ACTION_VARIABLES | places | {"ERASED": "erased", "OUT": "audit"}
    for more, wanted in (
        ({}, "none"),
        ({"KEY": "secret"}, "secret"),
        ({"SPACE_PSEUDONYM_KEY": "the job's"}, "the job's"),
    ):
        done = told(steps()["Audit"]["run"], **(variables | more))
        assert done.returncode == 0, done.stderr
        assert heard(tmp_path) == ([], ("none", "none", "none", wanted))


def test_the_gitlab_job_asks_what_to_install(bash):
    done = bash("\n".join(job()["before_script"]), shell=("sh", "-e"), AUDIT_PACKAGE="")
    assert (done.returncode, done.stderr) == (2, "AUDIT_PACKAGE must say what pip installs\n")


def told_again(script):
    """Let a script reuse the audit that a test has made: it is about what becomes of the verdict, not of measuring."""
    assert script.count(" --overwrite") == 1
    return script.replace(" --overwrite", "")


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 3), ("inconclusive", 3)])
def test_the_action_stops_the_job_unless_the_verdict_is_a_pass(bash, audited, tmp_path, verdict, code):
    erased = audited(verdict)
    places = {
        "GITHUB_OUTPUT": tmp_path / "output",
        "GITHUB_STEP_SUMMARY": tmp_path / "page.md",
        "RUNNER_TEMP": tmp_path,
    }
    variables = ACTION_VARIABLES | {name: str(place) for name, place in places.items()} | {"POLICY": "policy.toml"}
    done = bash(told_again(steps()["Audit"]["run"]), ERASED=str(erased), OUT="audit", **variables)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_text() == f"verdict={verdict}\n"
    assert (tmp_path / "page.md").read_text() == "## audited\n"
    assert bash(steps()["Gate"]["run"], VERDICT=verdict).returncode == code


def test_an_audit_that_breaks_stops_the_action(bash, tmp_path):
    variables = ACTION_VARIABLES | {"GITHUB_OUTPUT": str(tmp_path / "output"), "RUNNER_TEMP": str(tmp_path)}
    done = bash(steps()["Audit"]["run"], ERASED="nowhere", OUT="audit", **variables)
    assert done.returncode == 4
    assert not (tmp_path / "output").exists()
    assert bash(steps()["Gate"]["run"], VERDICT="").returncode == 3


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("inconclusive", 3)])
def test_the_gitlab_job_has_the_exit_code_of_the_audit(bash, audited, verdict, code):
    variables = {name: str(value) for name, value in job()["variables"].items()}
    variables |= {"AUDIT_ERASED": str(audited(verdict)), "AUDIT_POLICY": "policy.toml"}
    done = bash(told_again("\n".join(job()["script"])), shell=("sh", "-e"), **variables)
    assert done.returncode == code, done.stderr


def test_what_the_templates_collect_is_what_an_audit_writes():
    from space_cli.reports._folder import FORMATS

    written = {form.FILE for form in FORMATS}
    assert job()["artifacts"]["reports"]["junit"] == "audit/junit.xml"
    assert steps()["Upload findings"]["with"]["sarif_file"] == "${{ inputs.out }}/audit.sarif"
    assert {"junit.xml", "audit.sarif"} <= written
