"""The documents say what the program does: options, fields, links, and nothing about anybody's workplace."""

import re
import shlex
import subprocess

from pathlib import Path

import pytest
import typer

from space_cli.bundled.concepts import drawn_concepts
from space_cli.cli.app import app
from space_cli.core import ledger, policy, probing, recipe, records, registry

ROOT = Path(__file__).parent.parent
COMMANDS = typer.main.get_command(app).commands
GLOBAL = {"--help", "-h", "--version", "--debug"}
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
    *(ROOT / "docs").rglob("*.md"),
]
# In two parts each, so that this file does not hold them.
FOREIGN = [b"/wo" + b"rk/", b"py" + b"pi.org", b"python" + b"hosted", b"np" + b"mjs"]
MODELS = [
    *(records.Manifest, records.Source, records.FileRecord, records.Run, records.PoolManifest),
    *(records.AnchorsManifest, records.LayerLeverage, records.ErasureReceipt, records.LayerReceipt),
    *(records.AuditReport, records.ScoreRecord, records.GateRecord, records.Pseudonymized),
    *(recipe.Concept, recipe.IndexRequest, recipe.SelectRequest, recipe.EraseRequest, recipe.AuditRequest),
    *(policy.Policy, policy.Rule, probing.Notes, ledger.Entry),
]


def section(text, start, *, level="##"):
    """Return what stands between the first line with `start` and the next heading of its level or above."""
    _, found, rest = text.partition(start)
    assert found, f"no section {start}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(text):
    """Return each table row as the code spans of its first cell, with the row."""
    rows = (line for line in text.splitlines() if line.startswith("| `"))
    return [(re.findall(r"`([^`]+)`", row.split(" | ")[0]), row) for row in rows]


def options_of(name):
    spellings = (spelling for parameter in COMMANDS[name].params for spelling in parameter.opts)
    return {spelling for spelling in spellings if spelling.startswith("-")}


def page_of(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def option_rows(name):
    """Return the rows of a command's table of options, each as its spellings and the whole row."""
    return first_cells(section(page_of(f"commands/{name}.md"), "## Options", level="###"))


def blocks_of(page):
    """Return the lines of a page's code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()]


def test_every_command_has_a_page_and_every_page_a_command():
    assert {path.stem for path in (ROOT / "docs" / "commands").glob("*.md")} == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_page_lists_the_options_of_its_command_and_no_other(name):
    listed = {span for spans, _ in option_rows(name) for span in spans if span.startswith("-")}
    assert listed == options_of(name) | {"--help", "-h"}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_page_tells_the_defaults(name):
    rows = {span: row for spans, row in option_rows(name) for span in spans}
    for parameter in COMMANDS[name].params:
        spelling = parameter.opts[0]
        if not spelling.startswith("-") or parameter.name == "help":
            continue
        default = parameter.default
        told = rows[spelling].split(" | ")[1].strip()
        if parameter.required:
            assert told == "required", spelling
        elif isinstance(default, bool):
            assert told == ("on" if default else "off"), spelling
        else:
            assert told.strip("`") == ("" if default is None else str(default)), spelling


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_page_describes_an_option_as_its_help_does(name):
    """They are the same words; the page may mark them up and link them."""
    rows = {span: row for spans, row in option_rows(name) for span in spans}
    for parameter in COMMANDS[name].params:
        if (row := rows.get(parameter.opts[0])) and parameter.name != "help":
            told = row.split(" | ", 2)[2].removesuffix(" |")
            assert bare(told) == bare(parameter.help), parameter.name


def bare(text):
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("\\|", "|")


@pytest.mark.parametrize("method", registry.names("methods"))
def test_the_erase_page_names_the_options_of_a_method(method):
    rows = first_cells(section(page_of("commands/erase.md"), "### Options of the methods"))
    row = next(row for spans, row in rows if spans == [method])
    listed = set(re.findall(r"`([^`]+)`", row)) - {method}
    assert listed == set(registry.load("methods", method).Options.model_fields)


def test_the_audit_page_lists_the_metrics():
    listed = {spans[0] for spans, _ in first_cells(section(page_of("commands/audit.md"), "## Metrics"))}
    assert listed == {name.replace("-", "_") for name in registry.names("metrics")}


@pytest.mark.parametrize("package", ["methods", "families", "encoders", "attacks"])
def test_the_documents_name_the_plugins_there_are(package):
    rows = first_cells(section(page_of("architecture.md"), "## Plug-ins"))
    row = next(row for spans, row in rows if spans == [f"{package}/"])
    there = row.rstrip(" |").rsplit(" | ", 1)[1]
    assert re.findall(r"`([^`]+)`", there) == registry.names(package)


def test_the_documents_count_the_metrics_there_are():
    rows = first_cells(section(page_of("architecture.md"), "## Plug-ins"))
    row = next(row for spans, row in rows if spans == ["metrics/"])
    in_words = {18: "eighteen", 19: "nineteen", 20: "twenty", 21: "twenty-one"}
    assert f"| {in_words[len(registry.names('metrics'))]}, see" in row


def test_the_demo_page_counts_what_the_checkpoint_knows():
    known = drawn_concepts()
    kinds = {concept.kind for concept in known}
    assert f"{len(known)} named things of {len(kinds)} kinds" in page_of("commands/demo.md")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_format_page_lists_the_fields_of_a_record(model):
    page = page_of("format.md")
    mark = next(mark for mark in (f"(`{model.__name__}`)", f"# `{model.__name__}`\n") if mark in page)
    text = section(page, mark, level="####")
    listed = [span for spans, _ in first_cells(text) for span in spans]
    own = {name for name in model.model_fields if name in model.__annotations__}
    assert sorted(listed) == sorted(own)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_file(), f"{page.name}: {target}"
        assert found.is_relative_to(ROOT), f"{page.name}: {target}"
        if anchor:
            assert anchor in slugs(found), f"{page.name}: {target}"


def links_of(page):
    targets = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}


def test_every_decision_is_listed():
    records = {path.resolve() for path in (ROOT / "docs" / "adr").glob("*.md")}
    assert records <= links_of(ROOT / "docs" / "architecture.md")


def test_every_page_can_be_reached_from_the_readme():
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page not in found:
            found.add(page)
            waiting += links_of(page)
    assert {path.resolve() for path in (ROOT / "docs").rglob("*.md")} <= found


def slugs(page):
    """Return the anchors that GitHub gives a page's headings."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_in_the_documents_exist(page):
    for line in blocks_of(page):
        command = re.match(r"(?:\$ |- run: |- )?(space [a-z]+\b.*)", line)
        if command is None:
            continue
        words = shlex.split(command[1])
        assert words[1] in COMMANDS, line
        used = {word for word in words if re.match(r"-[-a-z]", word)}
        assert used <= options_of(words[1]) | GLOBAL, line


def test_the_readme_keeps_the_places_of_measured_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("terminal", "demo", "hardware"):
        assert text.count(f"<!-- {name}:begin -->") == text.count(f"<!-- {name}:end -->") == 1


@pytest.fixture(scope="module")
def files():
    """Return every file of the project with what it holds."""
    if not (ROOT / ".git").exists():
        pytest.skip("which files belong to the project is known in a clone only")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    found = {path: path.read_bytes() for name in names if name and (path := ROOT / name).is_file()}
    assert len(found) > 100
    return found


def test_no_file_speaks_of_a_workplace_or_a_registry(files):
    found = [f"{path}: {word.decode()}" for path, content in files.items() for word in FOREIGN if word in content]
    assert not found


def test_nothing_is_installed_by_a_name_that_an_index_may_give_to_others(files):
    install = re.compile(rb"pip install [^`\n]*\bspace-cli(?!\[\w+\] @ )")
    assert not [path for path, content in files.items() if install.search(content)]
