"""What leaves a block in which a concept is hidden names it no more, and is still the same kind of failure."""

import errno

import pytest

from space_cli.cli.pseudonymize import Hidden, masking
from space_cli.cli.render import Terminal
from space_cli.core.errors import SpaceError
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import Concept

KEY = b"k" * 32


def raised(failure):
    hidden = Hidden(Pseudonym(Concept(name="grand piano"), KEY), KEY)

    def work():
        with masking(Terminal(), hidden):
            raise failure

    with pytest.raises((OSError, SpaceError)) as found:
        work()
    return found.value, hidden.pseudonym.text


@pytest.mark.parametrize("path", ["/a/Grand_Piano/x.png", b"/a/Grand_Piano/x.png"])
def test_what_the_machine_refuses_is_no_bug_of_ours(path):
    found, hidden = raised(PermissionError(errno.EACCES, "Permission denied", path))
    assert (found.errno, found.strerror) == (errno.EACCES, "Permission denied")
    assert found.filename == f"/a/{hidden}/x.png"


def test_a_bug_of_ours_names_nothing():
    found, hidden = raised(RuntimeError("no grand pianos"))
    assert (found.exit_code, found.message) == (1, f"RuntimeError: no {hidden}")
