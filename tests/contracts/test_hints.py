"""Every error must say what solves it: a fault has a hint, wherever it is made."""

import ast

from collections.abc import Iterator
from pathlib import Path

import space_cli

from space_cli.core import errors

ROOT = Path(space_cli.__file__).parent
FAULTS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.SpaceError)}
WITHOUT = {
    "cli/pseudonymize.py _unnamed": "a bug of ours, without the traceback that might name the concept: no user mends it"
}
"""Where a fault may have no hint: file and function, with the reason."""


def unhinted(tree: ast.AST, function: str = "") -> Iterator[tuple[str, int]]:
    """Find each fault that is made without a hint, or with one that may be empty: function and line."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and _called(node) in FAULTS and not _has_hint(node):
            yield function, node.lineno
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from unhinted(node, node.name if inner else function)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _has_hint(call: ast.Call) -> bool:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "hint"]
    choices = [side for one in given for side in ((one.body, one.orelse) if isinstance(one, ast.IfExp) else (one,))]
    return bool(choices) and not any(isinstance(one, ast.Constant) and not one.value for one in choices)


def test_every_fault_has_a_hint_but_for_those_that_are_excused():
    found = [
        (f"{path.relative_to(ROOT).as_posix()} {function}", line)
        for path in sorted(ROOT.rglob("*.py"))
        for function, line in unhinted(ast.parse(path.read_text(encoding="utf-8")))
    ]
    missing = [f"{place}, line {line}" for place, line in found if place not in WITHOUT]
    assert not missing, "say with `hint=` what the reader can do about it"
    assert WITHOUT.keys() <= dict(found).keys(), "take out of `WITHOUT` what has a hint by now"


def test_a_fault_without_a_hint_is_found():
    source = """
def helped():
    raise UsageFault("no", hint="yes")
def bare(one):
    with one:
        raise UsageFault("no") from None
class Thing:
    def emptied(self):
        return errors.GateRefusal("no", figures={}, hint="")
    def perhaps(self, known):
        raise NetworkFault("no", hint="yes" if known else "")
    def foreign(self):
        raise ValueError("no")
"""
    assert list(unhinted(ast.parse(source))) == [("bare", 6), ("emptied", 9), ("perhaps", 11)]
    assert {"SpaceError", "ArtifactFault", "EnvironmentFault"} <= FAULTS
