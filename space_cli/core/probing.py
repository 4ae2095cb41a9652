"""From an auditor's pictures and notes to the probe that every metric looks at."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from space_cli.core.answer_form import ARTICLES
from space_cli.core.errors import UsageFault
from space_cli.core.matching import words
from space_cli.core.overlap import picture_digest
from space_cli.core.phrasing import TEXT_HOME_QUESTION, TEXT_KIND_QUESTION
from space_cli.core.recipe import Concept, spoken_form
from space_cli.core.types import Probe, ProbeImage

NEIGHBOURS = 5
"""Names counted as neighbours, as in the first band of METHODS: damage beyond it falls off quickly."""


class Notes(BaseModel):
    """What an auditor knows about one concept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phrase: str = Field(default="", description="The name as it stands in a sentence")
    kind: str | None = Field(default=None, description="What kind of thing it is")
    aliases: tuple[str, ...] = Field(default=(), description="Other names; they count for the audited concept")
    facts: tuple[tuple[str, str], ...] = Field(
        default=(), description="Question and expected answer; an empty one takes the answer before erasing"
    )


def described(concept: Concept, notes: Mapping[str, Notes]) -> Concept:
    """Add to a concept what the notes know about it; what a person said at the erasure wins.

    Raises:
        UsageFault: A name has no letter, digit or symbol, so that no answer could contain it.
    """
    own = next((note for name, note in notes.items() if is_one_of(name, concept.names)), Notes())
    aliases = tuple(dict.fromkeys((*concept.aliases, *own.aliases)))
    for name in (concept.name, *aliases):
        if not words(name):
            raise UsageFault(
                f"the name `{name}` has no letter, digit or symbol: no answer could contain it",
                hint="check `--concept`, `--alias` and the `aliases` in `concepts.toml`",
            )
    return Concept(
        name=concept.name,
        aliases=aliases,
        phrase=concept.phrase or own.phrase,
        kind=concept.kind or own.kind,
    )


def is_one_of(name: str, names: Sequence[str]) -> bool:
    """Tell whether two spellings are one name, by the rule answers are matched with; an article is no part of it.

    Example:
        >>> is_one_of("a panda", ["Panda"]), is_one_of("lightbulb", ["light bulb"]), is_one_of("red panda", ["panda"])
        (True, True, False)
    """
    return any(_spelt(name) == _spelt(other) for other in names)


def other_names(
    concept: Concept, shown: Sequence[ProbeImage], notes: Mapping[str, Notes], more: Sequence[str]
) -> list[str]:
    """Return every name but the concept's own, in a fixed order.

    None of them is the concept's as it stands in a sentence: taken for a longer name of something else, "a panda" would
    hide every panda, and what still names it would pass.
    """
    names, own = dict.fromkeys((*(one.name for one in shown), *notes, *more)), (*concept.names, concept.spoken)
    return sorted(name for name in names if words(name) and not is_one_of(name, own))


def phrases_of(names: Sequence[str], notes: Mapping[str, Notes]) -> dict[str, str]:
    """Return each name as it stands in a sentence."""
    return {name: notes.get(name, Notes()).phrase or spoken_form(name) for name in names}


def split_images(
    concept: Concept, shown: Sequence[ProbeImage], folder: str
) -> tuple[list[ProbeImage], list[ProbeImage]]:
    """Separate the concept's own pictures from those of other concepts.

    Of equal ones in the folders of its name and of an alias the first counts: a copy is no further evidence.

    Raises:
        UsageFault: There are pictures, but none of the concept, or a path cannot be written down.
    """
    for one in shown:
        if any("\ud800" <= character <= "\udfff" for character in one.path):
            raise UsageFault(
                f"the path {one.path!a} is not Unicode: no report could hold it", hint="rename the file or its folder"
            )
    own = [one for one in shown if is_one_of(one.name, concept.names)]
    if shown and not own:
        found = ", ".join(f"`{name}`" for name in dict.fromkeys(one.name for one in shown))
        raise UsageFault(
            f"`{folder}` has no images of `{concept.name}`: its sub-folders are {found}",
            hint="name one sub-folder like the concept, or pass its name as an alias in `concepts.toml`",
        )
    return _distinct(own), [one for one in shown if not is_one_of(one.name, concept.names)]


def _distinct(own: Sequence[ProbeImage]) -> list[ProbeImage]:
    if len({one.name for one in own}) < 2:  # in one folder no picture is there twice
        return list(own)
    found: dict[bytes, ProbeImage] = {}
    for one in own:
        found.setdefault(picture_digest(one.image), one)
    return list(found.values())


def build_probe(
    concept: Concept,
    shown: tuple[Sequence[ProbeImage], Sequence[ProbeImage]],
    names: Sequence[str],
    notes: Mapping[str, Notes],
    *,
    ordered: bool,
    seed: int,
) -> Probe:
    """Put together what metrics may look at, but for the images of the pool.

    Args:
        concept: As `described` returns it.
        shown: The concept's own pictures and those of others, as `split_images` returns them.
        names: Every other name, nearest first where `ordered`.
        notes: What the auditor knows.
        ordered: The names' order is known; without it there are no neighbours.
        seed: Of every draw a metric makes.
    """
    own, others = shown
    pictured = {one.name for one in others}
    return Probe(
        name=concept.name,
        phrase=concept.spoken,
        aliases=concept.names,
        kind=concept.kind,
        forget=own,
        retain=others,
        neighbours=tuple(name for name in names if name in pictured)[:NEIGHBOURS] if ordered else (),
        names=tuple(names),
        ordered=ordered,
        phrases=phrases_of(names, notes),
        facts=_facts(concept, notes),
        other_facts=_other_facts(names, notes),
        kinds={name: kind for name in names if (kind := notes.get(name, Notes()).kind)},
        seed=seed,
    )


def _spelt(name: str) -> str:
    split = words(name)
    rest = split[1:] if split and split[0] in ARTICLES else split
    return "".join(rest or split)


def _facts(concept: Concept, notes: Mapping[str, Notes]) -> list[tuple[str, str]]:
    given = [fact for name, note in notes.items() if is_one_of(name, concept.names) for fact in note.facts]
    return given or _usual_facts(concept.spoken, concept.kind)


def _other_facts(names: Sequence[str], notes: Mapping[str, Notes]) -> list[tuple[str, str]]:
    phrases = phrases_of(names, notes)
    known = {name: notes.get(name, Notes()) for name in names}
    return [fact for name, note in known.items() for fact in note.facts or _usual_facts(phrases[name], note.kind)]


def _usual_facts(phrase: str, kind: str | None) -> list[tuple[str, str]]:
    return [(TEXT_KIND_QUESTION.format(phrase=phrase), kind or ""), (TEXT_HOME_QUESTION.format(phrase=phrase), "")]
