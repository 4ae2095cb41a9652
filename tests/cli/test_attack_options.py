from pathlib import Path

import pytest

from cli_records import make_chain

from space_cli.cli.app import run

PLACE = Path(".space")


@pytest.mark.parametrize(
    "given, understood",
    [
        ([], ()),
        (["--attacks", "all"], ("all",)),
        (["--attacks", "jailbreak,prefill", "--attacks", "images"], ("jailbreak", "prefill", "images")),
    ],
)
def test_attacks_are_chosen_by_name(stages, given, understood):
    make_chain(PLACE.absolute())
    assert run(["audit", "--overwrite", *given]) == 0
    assert next(request for name, request, _ in reversed(stages) if name == "audit").attacks == understood


def test_an_unknown_attack_is_refused(stages, capsys):
    make_chain(PLACE.absolute())
    assert run(["audit", "--attacks", "bribery", "--overwrite"]) == 2
    assert "unknown attack `bribery`" in capsys.readouterr().err
