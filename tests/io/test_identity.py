"""Who an audit of a pseudonymized folder is about: the very names that were erased, or nobody."""

import pytest

from space_cli.core.errors import UsageFault
from space_cli.core.masking import masked
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import AuditRequest, Concept
from space_cli.core.records import Pseudonymized
from space_cli.io.identity import identify
from tests.io.receipts import make_receipt

KEY = b"0123456789abcdef" * 4
ERASED = Concept(name="panda", aliases=("bamboo bear", "giant panda"))


@pytest.fixture
def receipt():
    pseudonym = Pseudonym(ERASED, KEY)
    return masked(make_receipt(concept=ERASED), pseudonym).model_copy(
        update={"pseudonymized": Pseudonymized(key_id=pseudonym.key_id)}
    )


def asked(*aliases, **more):
    return AuditRequest(erased="erased", concept=Concept(name="panda", aliases=aliases), **more)


def test_with_every_name_it_is_the_concept_that_was_erased(receipt):
    named = identify(asked("Giant-Panda", "bamboo bear", "black and white bear"), receipt, KEY)
    assert set(ERASED.names) & set(named.receipt.request.concept.names) >= {"panda", "bamboo bear"}


def test_with_fewer_names_an_answer_would_count_as_forgotten(receipt):
    for aliases, lacking in (((), 2), (("giant panda",), 1)):
        with pytest.raises(UsageFault, match=f"{lacking} of the 2 aliases that were erased are not given") as caught:
            identify(asked(*aliases), receipt, KEY)
        assert "--alias" in caught.value.hint


def test_notes_beside_the_images_may_hold_the_aliases(receipt, tmp_path):
    (tmp_path / "concepts.toml").write_text('[panda]\naliases = ["bamboo bear", "giant panda"]\n')
    identify(asked(images=str(tmp_path)), receipt, KEY)
