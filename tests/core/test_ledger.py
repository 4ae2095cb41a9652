"""The ledger's chain: whatever is done to its lines is found without any other record."""

import random

import pytest

from space_cli.core.errors import ArtifactFault, UsageFault
from space_cli.core.ledger import START, checkpoint_digest, parse, require_fit, require_new, sealed, spell
from space_cli.core.masking import resealed
from space_cli.core.pseudonym import Pseudonym
from space_cli.core.recipe import Concept
from space_cli.core.records import FileRecord

NAMES = ("panda", "owl", "red car", "naïve café", "bus")


def chain(count=4, seed=0):
    entries = []
    for number in range(count):
        facts = {
            "concept": Concept(name=NAMES[number], kind="thing"),
            "method": "dcsi",
            "seed": seed,
            "base": f"{number:064x}",
            "edits": f"{number + 100:064x}",
            "anchors": "a" * 64,
            "kept": "b" * 64,
            "result": f"{number + 1:064x}",
        }
        entries.append(sealed(entries, facts))
    return entries


def test_a_ledger_reads_back_as_it_was_and_says_the_same_every_time():
    entries = chain()
    assert parse(spell(entries), origin="x") == entries
    assert spell(chain()) == spell(entries)
    assert [entry.number for entry in entries] == [1, 2, 3, 4]
    assert entries[0].previous == START
    assert entries[2].previous == entries[1].hash


@pytest.mark.parametrize("round_", range(100))
def test_any_changed_byte_or_line_is_found(round_):
    dice = random.Random(round_)
    entries = chain()
    lines = spell(entries).splitlines(keepends=True)
    act = dice.choice(["byte", "remove", "swap", "double", "blank"])
    row = dice.randrange(len(lines))
    if act == "byte":
        text = list(lines[row])
        place = dice.randrange(len(text) - 1)
        text[place] = chr(ord(text[place]) ^ 1)
        lines[row] = "".join(text)
    elif act == "remove":
        del lines[row]
    elif act == "swap":
        other = (row + 1) % len(lines)
        lines[row], lines[other] = lines[other], lines[row]
    elif act == "double":
        lines.insert(row, lines[row])
    else:
        lines.insert(row, "\n")
    with pytest.raises(ArtifactFault) as fault:
        require_fit(parse("".join(lines), origin="x"), entries[-1].result, origin="x")
    assert fault.value.exit_code == 4


def test_a_line_sealed_anew_breaks_the_next_one():
    entries = chain()
    forged = sealed(entries[:1], entries[1].model_dump(exclude={"number", "previous", "hash"}) | {"seed": 9})
    with pytest.raises(ArtifactFault, match="line 3 does not follow"):
        parse(spell([entries[0], forged, *entries[2:]]), origin="x")


def test_a_line_of_another_history_breaks_though_every_hash_is_right():
    entries = chain()
    facts = entries[1].model_dump(exclude={"number", "previous", "hash"}) | {"base": "c" * 64}
    with pytest.raises(ArtifactFault, match="from another checkpoint than the line before left"):
        parse(spell([entries[0], sealed(entries[:1], facts)]), origin="x")


@pytest.mark.parametrize("text", ["", "\n", "{}\n", "[]\n", "no json\n", '{"number": 1}\n'])
def test_what_is_no_ledger_is_refused(text):
    with pytest.raises(ArtifactFault):
        parse(text, origin="x")


def test_a_last_line_cut_short_is_refused():
    with pytest.raises(ArtifactFault, match="cut off"):
        parse(spell(chain())[:-1], origin="x")


@pytest.mark.parametrize(
    "again",
    [Concept(name="panda"), Concept(name="Panda"), Concept(name="pandas bear", aliases=("panda",))],
)
def test_a_concept_is_erased_once(again):
    entries = chain(2)
    with pytest.raises(UsageFault, match="erased already: it is request 1") as fault:
        require_new(entries, again)
    assert fault.value.exit_code == 2
    require_new(entries, Concept(name="red panda"))
    require_new([], again)


def test_what_is_hidden_can_neither_be_compared_nor_kept_away():
    entries = chain(2)
    named = Pseudonym(entries[0].concept, b"k" * 32)
    text, _ = resealed(spell(entries), named, origin="ledger")
    with pytest.raises(UsageFault, match="pseudonymized copy: what request 1 erased is not known"):
        require_new(parse(text, origin="ledger"), Concept(name="bus"))
    entries = [
        sealed([], chain(1)[0].model_dump(exclude={"number", "previous", "hash"}) | {"concept": concept})
        for concept in (Concept(name="concept-0123"), Concept(name="concept"))
    ]
    require_new(entries, Concept(name="bus"))


def test_the_digest_covers_all_but_what_space_added_and_no_order():
    files = [FileRecord(path=path, sha256=path * 2, bytes=1) for path in ("a", "space.json", "space/x", "b")]
    assert checkpoint_digest(files) == checkpoint_digest([files[3], files[0]])
    assert checkpoint_digest(files) != checkpoint_digest(files[:1])
