"""What a method may ask for while it works out its edits: read-only, computed when first asked.

Shapes: n = images, p = visual tokens, v = tower width, d = a layer's input width, q = free directions.
"""

import math
import random

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import torch

from torch import Tensor

from space_cli.core.earlier import Earlier
from space_cli.core.errors import UsageFault
from space_cli.core.hooks import Change, editing, watching
from space_cli.core.knowledge import Knowledge, is_name, name_of
from space_cli.core.linalg import safe_basis
from space_cli.core.losses import answer_mask
from space_cli.core.matching import mentions
from space_cli.core.moments import FewKeys, SecondMoment, with_openings
from space_cli.core.phrasing import asks_about
from space_cli.core.protocols import Progress, Responder
from space_cli.core.recipe import Concept
from space_cli.core.types import Batch, Prompt, Role

Factors = Mapping[str, Change]
STATISTICS_BATCH = 64
KEYS_AT_ONCE = 8192
"""Keys that are made float64 together: of LLaVA-1.5-7B's widest layer they take 0.7 GB."""
OPENING_WEIGHT = 0.1
"""Weight of the first token's own moment: language models store huge activations there, on one direction that a share
of the average token's energy would leave unprotected."""


@dataclass(frozen=True)
class Saved:
    """A method's state between two steps, to continue from after a kill."""

    step: int
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Budget:
    """What an erasure may cost at most; without figures, anything."""

    retain_kl: float = math.inf  # nats per token, on held-out retained prompts
    neighbours: float = 1.0  # share of surely named neighbours that are named otherwise


UNLIMITED = Budget()


@dataclass
class Outcome:
    """What a method says about its own run."""

    steps: int = 0
    stopped: str = "all steps done"
    signals: dict[str, float] = field(default_factory=dict)
    instruction: str = ""  # put before every conversation by the chat template


@dataclass
class EditContext:
    """The checkpoint, the anchors and the retained knowledge of one erasure."""

    responder: Responder
    concept: Concept
    layers: tuple[str, ...]
    features: Tensor  # [n, p, v], every role
    rows: Mapping[Role, range]  # rows of `features` by role
    knowledge: Knowledge
    seed: int
    max_change: float  # ||ΔW|| / ||W|| of any layer
    progress: Progress
    record: Callable[[dict[str, float]], None]  # one row of metrics.jsonl
    save: Callable[[Saved], None]
    saved: Saved | None = None
    budget: Budget = UNLIMITED
    forget: Tensor | None = None  # [n, p, v], images of the concept, where a method may train on them
    undo: Factors = field(default_factory=dict)  # takes earlier requests' edits off
    earlier: tuple[Earlier, ...] = ()  # what they erased
    outcome: Outcome = field(default_factory=Outcome)
    before: dict[Prompt, Tensor] = field(default_factory=dict)  # logits [a, w] of held-out prompts before the edits
    _moments: dict[str, Tensor] = field(default_factory=dict)  # of retained keys

    def weight(self, layer: str) -> Tensor:
        """Return the unedited weight [d_out, d_in] float32 of a layer."""
        return self.responder.model.get_parameter(f"{layer}.weight").detach().float()

    def of_role(self, role: Role) -> Tensor:
        """Return the visual features of a role, [n, p, v]."""
        span = self.rows[role]
        return self.features[span.start : span.stop]

    def added(self, layer: str) -> Tensor | None:
        """Return what earlier requests added to the weight of a layer, [d_out, d_in] float32; None without any."""
        change = self.undo.get(layer)
        if change is None:
            return None
        return -(change.float() if isinstance(change, Tensor) else change[0].float() @ change[1].float())

    def forget_features(self) -> Tensor:
        """Return the visual features of the images of the concept, [n, p, v].

        Raises:
            UsageFault: None were given.
        """
        if self.forget is None or not len(self.forget):
            raise UsageFault(
                "the method needs images of the concept", hint="pass `--forget-images` with a folder of them"
            )
        return self.forget

    def moment(self, layer: str) -> Tensor:
        """Return the second moment [d, d] float64 of retained keys, each token counted with unit length."""
        if not self._moments:
            prompts = [*self.knowledge.retained, *self.knowledge.texts]
            openings = {name: FewKeys(self._key_width(name)) for name in self.layers}
            found = self.moments(prompts, self.features, label="retained keys", openings=openings)
            for name in self.layers:  # both sums of a layer go with it: of a wide one, each takes a gigabyte
                self._moments[name] = with_openings(found.pop(name), openings.pop(name), OPENING_WEIGHT)
        return self._moments[layer]

    def safe_basis(self, layer: str, leak: float) -> Tensor:
        """Return orthonormal directions [d, q] float64 that hold at most a share `leak` of retained energy."""
        return safe_basis(self.moment(layer), leak)

    def moments(
        self,
        prompts: Sequence[Prompt],
        features: Tensor,
        *,
        label: str,
        unit: bool = True,
        openings: Mapping[str, FewKeys] | None = None,
    ) -> dict[str, SecondMoment]:
        """Run prompts and sum the second moments of every editable layer's input.

        Args:
            prompts: With answers; image prompts index `features`.
            features: Visual features [n, p, v].
            label: What the progress bar says.
            unit: Count each token with unit length; False keeps its energy.
            openings: By layer; gets the keys of the first tokens as well.

        Returns:
            Layer name -> moment of all tokens.
        """
        found = {layer: SecondMoment(self._key_width(layer)) for layer in self.layers}
        batches = list(batched(prompts, STATISTICS_BATCH))
        with self.progress.task(label, len(batches)) as advance, torch.inference_mode():
            for chosen in batches:
                batch = self.responder.batch(chosen)
                with watching(self.responder.model, self.layers, _summing(found, openings, batch, unit=unit)):
                    self.responder.read(batch, features)
                advance()
        return found

    def _key_width(self, layer: str) -> int:
        return int(self.responder.model.get_parameter(f"{layer}.weight").shape[1])

    @cached_property
    def sure_neighbours(self) -> tuple[Prompt, ...]:
        """Return the neighbours that the checkpoint before the first request surely named, as question and answer.

        A guess about a thing that it has no name for changes with any breath of the weights, and nobody relies on it;
        so only answers that it held for more likely than not are counted, and of these only those that give a name:
        "I am not sure" names nothing.
        """
        question, form = next(iter(self.knowledge.forms.items()))
        features, first = self.of_role("neighbour"), self.rows["neighbour"].start
        sure: list[Prompt] = []
        with torch.inference_mode(), self.original():
            answers = self.responder.answer_features(features, [question] * len(features)) if len(features) else []
            named = [Prompt(question, a, first + row) for row, a in enumerate(answers) if is_name(name_of(a, form))]
            gone = [name for one in self.earlier for name in one.concept.names]
            prompts = [prompt for prompt in named if not mentions(prompt.answer, gone)]
            for chosen in batched(prompts, STATISTICS_BATCH):
                batch = self.responder.batch(chosen)
                whole = self.responder.log_likelihood(batch, self.features) * answer_mask(batch).sum(-1)
                sure += [p for p, nats in zip(chosen, whole.tolist(), strict=True) if nats > -math.log(2)]
        return tuple(sure)

    def retained_prompts(self, step: int, size: int) -> list[Prompt]:
        """Return retained prompts drawn for one step, text only in every fourth.

        What is drawn follows from seed and step alone, so that a resumed run sees the same.
        """
        pool = self.knowledge.texts if step % 4 == 3 else self.knowledge.retained
        return self.drawn(pool, str(step), size)

    def affirmed_prompts(self, step: int, size: int) -> list[Prompt]:
        """Return retained prompts that were answered with yes, drawn the same way; there may be none."""
        return self.drawn(self.knowledge.affirmed, f"{step} yes", size)

    def word_prompts(self) -> list[Prompt]:
        """Return every retained text-only question about the concept's own word; there may be none."""
        return [one for one in dict.fromkeys(self.knowledge.texts) if asks_about(one.question, self.concept.spoken)]

    def drawn(self, pool: Sequence[Prompt], turn: str, size: int) -> list[Prompt]:
        """Return some of these prompts; which ones follows from the run's seed and from `turn`."""
        return random.Random(f"{self.seed} {turn}").sample(pool, min(size, len(pool)))

    def edited(self, factors: Factors) -> AbstractContextManager[None]:
        """Return a `with` block in which the layers carry `W + left @ right`."""
        return editing(self.responder.model, factors)

    def original(self) -> AbstractContextManager[None]:
        """Return a `with` block in which the checkpoint is what it was before the first request."""
        return editing(self.responder.model, self.undo)

    def referred(self, prompts: Sequence[Prompt], features: Tensor | None) -> Iterator[tuple[list[Prompt], Factors]]:
        """Yield prompts with the change under which the checkpoint answers them as it should.

        Knowledge is that of the checkpoint before the first request, or else every request would take what the last one
        left for the whole. What was erased since then is asked of the checkpoint as it is: on the anchors kept of
        earlier requests, which are the last rows of the context's features, and on features of a method's own.
        """
        own = features is not None and features is not self.features
        known = sum(len(span) for span in self.rows.values())
        erased = [own or (prompt.image is not None and prompt.image >= known) for prompt in prompts]
        for now in (False, True):
            some = [prompt for prompt, there in zip(prompts, erased, strict=True) if there == now]
            if some:
                yield some, {} if now else self.undo


def batched(prompts: Sequence[Prompt], size: int, *, sharing: bool = False) -> Iterator[list[Prompt]]:
    """Split prompts into batches of one kind each, image prompts first, similar lengths together.

    Args:
        prompts: In any order.
        size: Of a batch at most.
        sharing: Keep prompts about one image together instead, for who reads them with what they have in common; those
            about images that are asked about once come after, by length.
    """
    asked = Counter(prompt.image for prompt in prompts if sharing)

    def place(prompt: Prompt) -> tuple[bool, int]:
        several = asked[prompt.image] > 1 and prompt.image is not None
        return not several, (prompt.image or 0) if several else len(prompt.question) + len(prompt.answer)

    for about_image in (True, False):
        same = sorted((prompt for prompt in prompts if (prompt.image is not None) == about_image), key=place)
        for start in range(0, len(same), size):
            yield same[start : start + size]


def _summing(
    found: Mapping[str, SecondMoment], openings: Mapping[str, FewKeys] | None, batch: Batch, *, unit: bool
) -> Callable[[str, Tensor], None]:
    mask = batch.mask.bool()

    def watcher(layer: str, inputs: Tensor) -> None:
        keys = inputs
        if inputs.shape[:2] == mask.shape:
            # Tower and connector see no padding and no first token; the decoder sees both.
            if openings is not None:
                openings[layer].update(_sized(inputs[:, 0], unit=unit))
            keys = inputs[mask]
        for some in keys.reshape(-1, keys.shape[-1]).split(KEYS_AT_ONCE):
            found[layer].update(_sized(some, unit=unit))

    return watcher


def _sized(keys: Tensor, *, unit: bool) -> Tensor:
    keys = keys.float()
    return keys / keys.norm(dim=-1, keepdim=True).clamp(min=1e-12) if unit else keys
