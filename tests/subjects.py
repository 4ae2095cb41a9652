"""Small erasures on the bundled checkpoint, for tests of what methods must obey."""

import functools

import torch

from space_cli.bundled.checkpoint import checkpoint_folder
from space_cli.bundled.concepts import drawn_concepts, find
from space_cli.bundled.drawings import STYLES, render
from space_cli.core.context import UNLIMITED, EditContext, Saved
from space_cli.core.knowledge import gather
from space_cli.core.protocols import Silent
from space_cli.core.recipe import Concept
from space_cli.io.model import open_model

CONCEPT = "owl"  # a development concept
COUNTS = {"forget": 10, "holdout": 4, "neighbour": 14, "general": 24}


@functools.cache
def bundled():
    return open_model(checkpoint_folder(), device="cpu")


@functools.cache
def material(*scopes):
    """Features of pool pictures by role, upstream of these scopes, and what the checkpoint answers about them."""
    others = [c for c in drawn_concepts() if c.name != CONCEPT]
    near = [c for c in others if c.kind == find(CONCEPT).kind]
    chosen = [*near[:14], *near, *others[::3]]
    images = [render(c.symbol, STYLES[i % 2], 2_500_000 + i) for i, c in enumerate(chosen)]
    responder = bundled().upstream(*scopes)
    features = responder.features(images[: sum(COUNTS.values())])
    concept = Concept(name=CONCEPT, phrase="an owl", kind="animal")
    return concept, features, gather(responder, features, concept, 0)


@functools.cache
def concept_features(*scopes):
    """Unseen pictures of the concept itself, for judging only."""
    symbol = find(CONCEPT).symbol
    return bundled().upstream(*scopes).features([render(symbol, STYLES[i % 2], 3_500_000 + i) for i in range(8)])


def context(*, seed=0, saved=None, layers=None, scope=None, max_change=1.0, budget=UNLIMITED):
    """A fresh context; its `rows_seen` and `states` lists hold what the method reported."""
    scopes = () if scope is None else (scope,)
    concept, features, knowledge = material(*scopes)
    rows, start = {}, 0
    for role, count in COUNTS.items():
        rows[role] = range(start, start + count)
        start += count
    reported, states = [], []
    made = EditContext(
        responder=bundled().upstream(*scopes),
        concept=concept,
        layers=layers or bundled().family.layers(scope or "mlp"),
        features=features,
        rows=rows,
        knowledge=knowledge,
        seed=seed,
        max_change=max_change,
        progress=Silent(),
        record=reported.append,
        save=lambda state: states.append(Saved(state.step, {k: v.detach().clone() for k, v in state.tensors.items()})),
        saved=saved,
        budget=budget,
    )
    made.reported, made.states = reported, states
    return made


def factors(edits):
    return {edit.layer: edit.delta() for edit in edits}


def log_p(found, edits, features):
    """Mean log p of the name over open questions, with edits hooked in."""
    from space_cli.core.naming import Naming

    naming = Naming(found.responder, found.concept, found.knowledge.forms, 0)
    with found.edited(factors(edits)), torch.no_grad():
        return float(naming.activation(features).mean())


def drawn_factors(found):
    """A small change of rank 2 to every layer, whose left factors take gradients."""
    generator = torch.Generator().manual_seed(2)
    drawn = {}
    for layer in found.layers:
        out, width = found.weight(layer).shape
        left = torch.randn(out, 2, generator=generator) * 0.02
        drawn[layer] = (left.requires_grad_(True), torch.randn(2, width, generator=generator))
    return drawn
