"""All that a person may ask for: one request per stage, checked before any weight is read."""

import unicodedata

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from space_cli.core.matching import words

NAME_LIMIT = 200
"""Characters; a longer concept name is a mistake, and would fill every prompt."""

Scope = Literal["connector", "blocks", "mlp", "vision", "all"]
Ranking = Literal["activation", "similarity", "random"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Concept(_Request):
    """What to forget, in words."""

    name: str
    aliases: tuple[str, ...] = ()
    phrase: str = Field(default="", description="The name as it stands in a sentence; guessed if empty")
    kind: str | None = Field(default=None, description="What kind of thing it is, for example `person`")

    @field_validator("name", "phrase")
    @classmethod
    def _one_short_line(cls, value: str) -> str:
        return clean_name(value)

    @field_validator("name")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("the concept name is empty")
        return _sayable(value)

    @field_validator("aliases")
    @classmethod
    def _clean_aliases(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_sayable(clean_name(alias)) for alias in value)

    @property
    def spoken(self) -> str:
        """Return the name as it stands in a sentence: "Donald Trump", "a panda"."""
        return self.phrase or spoken_form(self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name and its aliases, without repetition."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


def clean_name(value: str) -> str:
    """Normalise a name, refusing what no sentence could hold.

    Raises:
        ValueError: Control characters (a newline among them) or more than `NAME_LIMIT` characters.
    """
    value = unicodedata.normalize("NFC", value).strip()
    if len(value) > NAME_LIMIT:
        raise ValueError(f"the name has {len(value)} characters: at most {NAME_LIMIT} are allowed")
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("the name holds a control character, such as a newline")
    return value


def _sayable(name: str) -> str:
    """Refuse a name that no answer could hold: it would be trained on and never found."""
    if not words(name):
        raise ValueError(f"the name {name!r} has no letter, digit or symbol: no answer could contain it")
    return name


def spoken_form(name: str) -> str:
    """Put an article before a common noun; a capital letter marks a proper name.

    Example:
        >>> spoken_form("panda"), spoken_form("Donald Trump"), spoken_form("owl")
        ('a panda', 'Donald Trump', 'an owl')
    """
    first = name[:1]
    if not first.isalpha() or not name.islower() or not name.isascii():
        return name
    if name.startswith(("a ", "an ", "the ")):
        return name
    return f"{indefinite_article(name)} {name}"


def indefinite_article(name: str) -> str:
    """Return "a" or "an", by the first letter."""
    return "an" if name[:1].lower() in "aeiou" else "a"


def article_before(name: str, phrase: str) -> str:
    """Return what stands before a name in a phrase, case aside; nothing where the phrase words the name otherwise.

    Example:
        >>> article_before("owl", "an owl"), article_before("Eiffel tower", "the Eiffel Tower")
        ('an', 'the')
        >>> article_before("panda", "giant pandas"), article_before("Donald Trump", "Donald Trump")
        ('', '')
    """
    before, own = phrase[: -len(name)], phrase[-len(name) :]
    return before.strip() if own.casefold() == name.casefold() and before.endswith(" ") else ""


def spoken_alike(concept: Concept, name: str) -> str:
    """Return another name as it would stand in the concept's place in a sentence.

    Example:
        >>> spoken_alike(Concept(name="owl"), "low"), spoken_alike(Concept(name="Mount Fuji"), "outMn jiFu")
        ('a low', 'outMn jiFu')
    """
    article = article_before(concept.name, concept.spoken)
    if article in {"a", "an"}:
        article = indefinite_article(name)
    return f"{article} {name}".strip()


class IndexRequest(_Request):
    """What `space index` is asked to do."""

    sources: tuple[str, ...] = Field(min_length=1, description="Folders, tar files or parquet files, absolute")
    encoder: str = Field(description="Hub id or folder of a CLIP or SigLIP checkpoint")
    revision: str | None = None
    batch_size: Annotated[int, Field(ge=1)] = 64
    shard_size: Annotated[int, Field(ge=1)] = 1024  # images a kill may cost
    workers: Annotated[int, Field(ge=0)] = 2
    max_pixels: Annotated[int, Field(ge=1)] = 64_000_000
    max_errors: Annotated[int, Field(ge=0)] | None = None
    device: str = "auto"
    seed: int = 0


class SelectRequest(_Request):
    """What `space select` is asked to do."""

    concept: Concept
    pool: str
    model: str | None = Field(default=None, description="Checkpoint for re-rank, leak guard and leverage")
    revision: str | None = None
    candidates: Annotated[int, Field(ge=1)] = 192  # nearest images that the model is asked about
    anchors: Annotated[int, Field(ge=1)] = 48
    holdout: Annotated[int, Field(ge=0)] = 16
    neighbours: Annotated[int, Field(ge=0)] = 240
    general: Annotated[int, Field(ge=1)] = 720
    ranking: Ranking = Field(
        default="activation",
        description="What makes a candidate an anchor; without a model similarity, since activation is not known",
    )
    floor: float | None = Field(default=None, description="Similarity floor; calibrated on the pool if None")
    min_anchors: Annotated[int, Field(ge=1)] = 8
    allow_leaks: bool = False
    allow_unknown: bool = Field(default=False, description="Do not ask whether the checkpoint knows the concept")
    exclude: tuple[str, ...] = Field(default=(), description="SHA-256 of items a person rejected")
    scope: Scope = "mlp"
    device: str = "auto"
    seed: int = 0


class EraseRequest(_Request):
    """What `space erase` is asked to do."""

    concept: Concept
    model: str
    revision: str | None = None
    anchors: str
    forget_images: str | None = Field(default=None, description="Folder of images of the concept, absolute")
    method: str = "dcsi"
    options: dict[str, Any] = Field(default_factory=dict, description="The method's own options")
    scope: Scope = "mlp"
    max_change: Annotated[float, Field(gt=0)] = 0.4  # ||ΔW||/||W|| of any layer
    max_retain_kl: Annotated[float, Field(gt=0)] = 0.05  # nats per token on held-out retained prompts
    max_neighbour_loss: Annotated[float, Field(ge=0, le=1)] = 0.05  # share of surely named neighbours named otherwise
    device: str = "auto"
    seed: int = 0


class AuditRequest(_Request):
    """What `space audit` is asked to do."""

    erased: str
    images: str | None = Field(default=None, description="Folder with one sub-folder of images per concept")
    names: tuple[str, ...] = Field(default=(), description="More names for forced choice")
    metrics: tuple[str, ...] = Field(default=(), description="Empty means those that run by default; `all` means all")
    attacks: tuple[str, ...] = Field(default=(), description="Empty means none; `all` means all")
    budgets: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options of metrics and attacks in place of their own, by name"
    )
    policy: str | None = Field(default=None, description="A shipped policy's name or a TOML file; `default` if None")
    baseline: str | None = Field(default=None, description="Another erased folder to measure beside this one")
    inputs: dict[str, str] = Field(default_factory=dict, description="Where inputs of the erasure are now, by kind")
    pseudonymize: bool = Field(default=False, description="The report names the concept by a keyed hash only")
    concept: Concept | None = Field(default=None, description="What was erased, where the erased folder hides it")
    limit: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Images per concept at most")
    device: str = "auto"
    seed: int = 0
