"""Share of answers about unseen images of the concept that do not name it (MMUBench's exact match).

    generality = mean over x in X, q in Q of 1[answer(x, q) holds neither the name nor an alias] = 1 - forget_accuracy

X: the concept's own images, none of them used in erasing. Q: open questions no erasure trained on. Unit: share.
Direction: higher is better. The note adds the share among the answers that named the concept before erasing.

References:
    Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models (Li et al., 2024),
    arXiv:2405.12523. Its code is not public; the definition follows descriptions of it.

Deviations:
    - The questions are `space`'s own, not the prompts of the benchmark.
    - A name counts as whole words, and not inside a longer name of something else.
    - An answer that says nothing passes, as it does there; the note counts the empty ones.
    - Their grade by GPT-4 (G-Eval) has no counterpart here: an audit calls no other model.
"""

from space_cli.core.asking import OpenAnswers, ask_each, by_image, unnamed
from space_cli.core.phrasing import AUDIT_OPEN
from space_cli.core.protocols import Responder
from space_cli.core.records import ScoreRecord
from space_cli.core.stats import score
from space_cli.core.types import Probe

NEEDS = frozenset({"forget"})
DEFAULT = False
"""It runs only where `--metrics` names it."""
Options = OpenAnswers


def measure(before: Responder, after: Responder, probe: Probe, options: Options) -> ScoreRecord:
    """Ask openly and look for the name's absence; images are the independent unit."""
    images, questions = [one.image for one in probe.forget], AUDIT_OPEN[: options.phrasings]
    told = [ask_each(responder, images, questions, tokens=options.tokens) for responder in (before, after)]
    old, new = (unnamed(answers, probe) for answers in told)
    known = [now for was, now in zip(old, new, strict=True) if not was]
    lost = f"{sum(known) / len(known):.1%} no longer do" if known else "nothing could be forgotten"
    return score(
        old,
        new,
        better="higher",
        groups=by_image(images, questions),
        seed=probe.seed,
        note=f"{len(known)} of {len(old)} answers named it before, {lost}; "
        f"{sum(not answer.strip() for answer in told[1])} are empty after",
    )
