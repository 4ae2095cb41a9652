"""Checkpoints to attack: tables of answers that survive a changed picture, and the bundled one with few pictures."""

import functools

from dataclasses import replace

import torch

from fakes import NAMES, Table

from space_cli.bundled.concepts import drawn_concepts, find
from space_cli.bundled.drawings import STYLES, render
from space_cli.core.recipe import spoken_form
from space_cli.core.types import Probe, ProbeImage


class Sketchy(Table):
    """A table that does not recognise every colour."""

    def answer_features(self, features, questions, *, about=None, tokens=24, lead=""):
        self.asked += len(questions)
        features = features if features is None or about is None else features[list(about)]
        places = (
            [None] * len(questions) if features is None else [round(v / 20) - 1 for v in features[:, 0, 0].tolist()]
        )
        names = [None if p is None else NAMES[p] if 0 <= p < len(NAMES) else "blank" for p in places]
        return [self.say(name, f"{question} {lead}".strip()) for name, question in zip(names, questions, strict=True)]


@functools.cache
def drawn(count=4, each=1):
    """A probe of the bundled checkpoint's owl with a few pictures of everything, `each` of every other name."""
    from subjects import CONCEPT

    others = [c for c in drawn_concepts() if c.name != CONCEPT]
    near = [c for c in others if c.kind == find(CONCEPT).kind][:6]
    far = [c for c in others if c.kind != find(CONCEPT).kind][::9][:6]
    return Probe(
        name=CONCEPT,
        phrase="an owl",
        aliases=(CONCEPT,),
        kind="animal",
        forget=[_shown(find(CONCEPT), i) for i in range(count)],
        retain=[_shown(c, i + 20 * view) for view in range(each) for i, c in enumerate([*near, *far])],
        neighbours=tuple(c.name for c in near[:3]),
        names=tuple(c.name for c in [*near, *far]),
        phrases={c.name: spoken_form(c.name) for c in [*near, *far]},
        holdout=[_shown(c, 50 + i).image for i, c in enumerate(near)],
        general=[_shown(c, 80 + i).image for i, c in enumerate(far)],
        seed=1,
    )


def source_free(look):
    return replace(look, forget=(), retain=())


def unknown(look, name="snorble"):
    """The same pictures under a name that the checkpoint never heard."""
    forget = [replace(one, name=name) for one in look.forget]
    return replace(look, name=name, phrase=f"a {name}", aliases=(name,), forget=forget)


def weights():
    """A copy of every tensor of the bundled checkpoint, and how many hooks each of its parts has."""
    from subjects import bundled

    return {name: tensor.detach().clone() for name, tensor in bundled().model.state_dict().items()}, _hooks()


def untouched(noted):
    """Whether every tensor has the bits it had, and nothing was hooked in that stayed."""
    from subjects import bundled

    copies, hooks = noted
    own = bundled().model.state_dict()
    assert own.keys() == copies.keys()
    assert [name for name in own if not own[name].equal(copies[name])] == []
    return _hooks() == hooks


def _hooks():
    """Count the hooks on linears; transformers keeps its own elsewhere, on blocks."""
    from subjects import bundled

    return {
        name: len(part._forward_hooks) + len(part._forward_pre_hooks)
        for name, part in bundled().model.named_modules()
        if isinstance(part, torch.nn.Linear)
    }


def _shown(concept, view):
    return ProbeImage(render(concept.symbol, STYLES[view % 2], 3_700_000 + view), concept.name, f"{view}.png")
