"""Which anchors of a request are kept for later ones."""

import torch

from jaxtyping import Float
from torch import Tensor

from space_cli.core.context import EditContext
from space_cli.core.earlier import KEPT
from space_cli.core.hardening import Hardening, harden
from space_cli.core.naming import Naming

SEED = 7_919
"""Added to the request's seed, so that what is kept was not trained on to the last bit."""


def kept_anchors(context: EditContext) -> Float[Tensor, "n p v"]:
    """Push some forget anchors until the unedited checkpoint names the concept in them, whatever the method was.

    Args:
        context: The erasure; no edit may be hooked in.

    Returns:
        Hardened features of the first forget anchors.
    """
    knowledge = context.knowledge
    naming = Naming(context.responder, context.concept, knowledge.forms, context.seed + SEED, kind=knowledge.kind)
    generator = torch.Generator().manual_seed(context.seed + SEED)
    with context.progress.task("keep anchors", 1) as advance:
        kept = harden(naming.objective, context.of_role("forget")[:KEPT], Hardening(), generator)
        advance()
    return kept
