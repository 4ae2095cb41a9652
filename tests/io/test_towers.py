import copy

import pytest
import subjects
import torch

from fakes import Table

from space_cli.bundled.concepts import find
from space_cli.bundled.drawings import render
from space_cli.io.model import CheckpointResponder
from space_cli.io.towers import both_remembering, see_alike


@pytest.fixture
def other():
    """A copy whose weights a test may change."""
    own = subjects.bundled()
    return CheckpointResponder(
        copy.deepcopy(own.model), copy.copy(own._tokenizer), copy.deepcopy(own._processor), own.family
    )


def changed(responder, part):
    with torch.no_grad():
        next(responder.model.get_submodule(part).parameters()).flatten()[0] += 1e-3


def test_what_was_erased_behind_the_tower_sees_alike(other):
    assert see_alike(subjects.bundled(), other)
    changed(other, other.family.connector)
    changed(other, other.family.language_model)
    assert see_alike(subjects.bundled(), other)


def test_one_changed_number_of_the_tower_is_another_tower(other):
    changed(other, other.family.tower)
    assert not see_alike(subjects.bundled(), other)


def test_images_prepared_otherwise_are_seen_otherwise(other):
    other._processor.image_mean = [0.1, 0.2, 0.3]
    assert not see_alike(subjects.bundled(), other)


def test_only_towers_that_see_alike_are_spared_a_look(other, monkeypatch):
    changed(other, other.family.tower)
    image, looked = render(find("owl").symbol, "colour", 3_600_001), []
    read = other.features
    monkeypatch.setattr(other, "features", lambda images: looked.append(len(images)) or read(images))
    for one in both_remembering(subjects.bundled(), other):
        one.answer([image], ["What is this?"])
    assert looked == [1]


def test_what_is_no_checkpoint_is_not_known_to_see_alike():
    assert not see_alike(Table(lambda *_: "yes"), Table(lambda *_: "yes"))
