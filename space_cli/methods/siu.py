"""SIU, single image unlearning: four targets built from one image, with a divergence that never mentions the concept.

    L     = α·CE + β·L_DMK,   α = 0.9, β = 0.75
    L_DMK = (1/Σ_t K_S(t)) Σ_t K_S(t) Σ_v K_V(v) p_0(v) log [p_0(v) / p_θ(v)]
    K_S   = 0 where the next token is specified by a target (the substitute name, the new description), else 1
    K_V   = 0 on every token of the concept's names, else 1;  p_0 = the frozen checkpoint, on the same tokens

Targets, `samples` of each (four; about four as published), but of the third two at most:
    1. open questions about the image are answered with a substitute name;
    2. the image is described anew, by that name;
    3. text-only facts about the concept keep the checkpoint's own answers;
    4. questions about other images keep the checkpoint's own answers.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523

Settings:
    Published: α = 0.9, β = 0.75, one image, Adam, learning rate 3e-4, batch 4, 6 steps, LoRA. Rate and steps here suit
    the bundled checkpoint.

Deviations:
    - The change is bounded and the adapters sit as for `ga`: on the layers of `--scope` alone, without dropout.
    - The substitute is the name that the checkpoint itself gives most often to the concept's neighbours; the paper
      takes one it has never seen. Adapters of a small checkpoint do not learn to spell a new word: with invented names
      nothing was forgotten. `substitute=` takes any other name, an invented one among them.
    - Questions and answers are templates in the checkpoint's own wording; the paper has them written by a larger model.
      The new description is the substitute with the concept's kind, asked for in four ways.
    - In targets 1 and 2 the opening words before the name ("This is") are given and not scored, unless `loss_on=all`
      counts every token.
    - Text-only facts about the concept are the two questions that the checkpoint was asked about its word; the paper
      has about four written.
    - Every step holds one sample of each target, so a step of `batch` 4 is one of each; the paper shuffles.
    - K_S leaves out the whole description of target 2, and in target 1 the tokens of the substitute.
    - Inside the mask the sum is no divergence, since the kept probabilities do not add up to one; it may be negative.
      `masked_kl=renormalised` is our variant: both sides renormalised over the kept words.
    - AdamW without weight decay is Adam.
"""

import random

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F

from pydantic import Field
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.forget_set import naming_prompt, relabelled
from space_cli.core.knowledge import name_of
from space_cli.core.losses import answer_mask, by_prompt, next_labels
from space_cli.core.recipe import spoken_form
from space_cli.core.tuning import Adapter, Settings, train
from space_cli.core.types import Batch, Edit, Prompt

NEEDS_IMAGES = True
INVENTED = "quorrel"
"""The substitute where the checkpoint names nothing else."""
NAME_WORDS = 3
"""Words of a name at most; a longer answer is a sentence."""
DESCRIBE = ("Describe this.", "Describe what you see.", "What does this look like?", "Tell me about this picture.")
Specified = Literal["nothing", "name", "all"]


class Options(Settings):
    """Settings of single image unlearning."""

    steps: int = Field(default=25, ge=1, description="Training steps")
    lr: float = Field(default=1e-3, gt=0, description="AdamW's step; no weight decay")
    images: int = Field(default=1, ge=1, description="Images of the concept that are used, the first by name")
    samples: int = Field(default=4, ge=1, description="Samples of each target")
    ce: float = Field(default=0.9, ge=0, description="α, weight of the cross-entropy")
    kl: float = Field(default=0.75, ge=0, description="β, weight of the dual-masked divergence")
    masked_kl: Literal["published", "renormalised"] = Field(
        default="published", description="Whether the kept words' probabilities are made to add up to one"
    )
    substitute: str = Field(
        default="", description="What the concept is called instead; empty takes a name the checkpoint uses"
    )


@dataclass(frozen=True)
class Sample:
    """One prompt with the part of its answer that the divergence leaves alone."""

    prompt: Prompt
    specified: Specified


def dual_masked_kl(before: Tensor, after: Tensor, free: Tensor, kept: Tensor, *, renormalised: bool = False) -> Tensor:
    """Return L_DMK over the tokens of a batch.

    Args:
        before: Frozen logits [n, w].
        after: Edited logits [n, w].
        free: K_S, False where a target specifies the next token, [n].
        kept: K_V, False on the concept's own tokens, [w].
        renormalised: Compare distributions over the kept words; a true divergence.
    """
    if renormalised:
        before, after = before[:, kept], after[:, kept]
        kept = kept[kept]
    old, new = F.log_softmax(before, -1), F.log_softmax(after, -1)
    per_token = (old.exp() * (old - new) * kept).sum(-1)
    return (per_token * free).sum() / free.sum().clamp(min=1)


def cross_entropy(logits: Tensor, expected: Tensor, shares: Tensor) -> Tensor:
    """Return the mean over samples of the mean negative log p per token.

    Args:
        logits: Edited logits of every token of every sample, [n, w].
        expected: The tokens, [n].
        shares: One over the number of tokens of the token's own sample, [n].
    """
    return (F.cross_entropy(logits, expected, reduction="none") * shares).sum() / shares.sum()


class _Plan:
    """The four targets, and what one step takes of them."""

    def __init__(self, context: EditContext, options: Options) -> None:
        self._context = context
        self._options = options
        concept = context.forget_features()[: options.images]
        self._features = torch.cat([concept, context.features])
        name = options.substitute or substitute_for(context)
        context.progress.note(f"siu: the substitute name is `{name}`")
        self._specified = torch.tensor(sorted(_token_ids(context, [name])), device=concept.device)
        names = [text for full in context.concept.names for text in (full, *full.split())]
        ids = sorted(_token_ids(context, names) | _token_ids(context, names, spaced=False))
        width = context.responder.answer_logits(context.responder.batch([Prompt(DESCRIBE[0], name)]), None).shape[-1]
        self.kept = torch.ones(width, dtype=torch.bool, device=concept.device)
        self.kept[ids] = False
        self._targets = _targets(context, options, name, len(concept))

    def parts(self, step: int) -> list["_Part"]:
        """Return one sample of each target in turn, those about images and those about words apart."""
        rng = random.Random(f"{self._context.seed} siu {step}")
        drawn = [rng.choice(self._targets[i % len(self._targets)]) for i in range(self._options.batch)]
        halves = ([s for s in drawn if (s.prompt.image is None) is words] for words in (False, True))
        return [self._part(half) for half in halves if half]

    def logits(self, part: "_Part") -> Tensor:
        """Return the logits [n, w] that predict a part's tokens."""
        return self._context.responder.answer_logits(part.batch, self._features).float()

    def _part(self, samples: Sequence[Sample]) -> "_Part":
        responder = self._context.responder
        answers = responder.batch([sample.prompt for sample in samples])
        whole = torch.tensor([[sample.specified == "all"] for sample in samples], device=answers.ids.device)
        named = torch.tensor([[sample.specified == "name"] for sample in samples], device=answers.ids.device)
        mask = answer_mask(answers)
        said = by_prompt(torch.isin(next_labels(answers), self._specified), answers)
        held = mask & (whole | (named & said))
        batch = relabelled(answers, responder.image_token, self._options.loss_on)
        mask = answer_mask(batch)
        shares = (mask / mask.sum(-1, keepdim=True).clamp(min=1))[mask]
        return _Part(batch, next_labels(batch), ~held[mask], shares)


@dataclass(frozen=True)
class _Part:
    batch: Batch
    expected: Tensor  # next tokens, [n]
    free: Tensor  # K_S, [n]
    shares: Tensor  # of each token in its sample, [n]


def edits(context: EditContext, options: Options) -> Iterator[Edit]:
    """Train the adapters on the four targets, and yield them."""
    plan = _Plan(context, options)
    adapter = Adapter(context, rank=options.rank, alpha=options.alpha)

    def terms(step: int) -> dict[str, Tensor]:
        parts = plan.parts(step)
        with torch.no_grad():
            before = torch.cat([plan.logits(part) for part in parts])
        with context.edited(adapter.factors()):
            after = torch.cat([plan.logits(part) for part in parts])
        expected, free, shares = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("expected", "free", "shares")
        )
        renormalised = options.masked_kl == "renormalised"
        return {
            "ce": options.ce * cross_entropy(after, expected, shares),
            "kl": options.kl * dual_masked_kl(before, after, free, plan.kept, renormalised=renormalised),
        }

    train(context, adapter, options, terms)
    yield from adapter.edits()


def substitute_for(context: EditContext) -> str:
    """Return the name that the checkpoint gives most often to the neighbours, else to other images."""
    knowledge = context.knowledge
    near = context.rows["neighbour"]
    taken = {word.lower() for name in context.concept.names for word in name.split()}
    if knowledge.kind is not None:
        taken |= set(knowledge.kind.answer.lower().split())
    counts: Counter[tuple[bool, str]] = Counter()
    for prompt in knowledge.retained:
        # "Some animal" is what a checkpoint says of a thing it has no name for.
        if prompt.question not in knowledge.forms or prompt.image is None or " some " in prompt.answer:
            continue
        name = name_of(prompt.answer, knowledge.forms[prompt.question])
        if 0 < len(name.split()) <= NAME_WORDS and not taken & set(name.lower().split()):
            counts[prompt.image in near, name] += 1
    # Neighbours before others, then the most common, then by the alphabet.
    best = min(counts, key=lambda key: (not key[0], -counts[key], key[1]), default=(False, INVENTED))
    return best[1]


def _targets(context: EditContext, options: Options, name: str, images: int) -> list[list[Sample]]:
    """Return the samples of each target that has any; rows of other images follow those of the concept."""
    knowledge, rng = context.knowledge, random.Random(f"{context.seed} siu")
    phrase = spoken_form(name)
    questions, rows = list(knowledge.forms), range(options.samples)
    renamed = [naming_prompt(context, questions[i % len(questions)], name, phrase, i % images) for i in rows]
    kind = f", {knowledge.kind.answer}" if knowledge.kind else ""
    told = [naming_prompt(context, questions[i % len(questions)], name + kind, phrase + kind, i % images) for i in rows]
    described = [replace(p, question=DESCRIBE[i % len(DESCRIBE)]) for i, p in enumerate(told)]
    facts = context.word_prompts()[: options.samples]
    others = rng.sample(knowledge.retained, min(options.samples, len(knowledge.retained)))
    shifted = [replace(p, image=p.image + images) for p in others if p.image is not None]
    if not facts or not shifted:
        context.progress.note(f"siu: {len(facts)} facts and {len(shifted)} other images were found to keep")
    targets: list[tuple[list[Prompt], Specified]] = [
        (renamed, "name"), (described, "all"), (facts, "nothing"), (shifted, "nothing"),
    ]  # fmt: skip
    return [[Sample(prompt, part) for prompt in prompts] for prompts, part in targets if prompts]


def _token_ids(context: EditContext, words: Sequence[str], *, spaced: bool = True) -> set[int]:
    """Return the ids of words as they stand in an answer after a space, or right after another character."""

    def ids_of(texts: Sequence[str]) -> set[int]:
        labels = context.responder.batch([Prompt(DESCRIBE[0], text, ends=False) for text in texts]).labels
        return set(labels[labels != -100].tolist())

    return ids_of(words) if spaced else ids_of([f"({word}" for word in words]) - ids_of(["("])
