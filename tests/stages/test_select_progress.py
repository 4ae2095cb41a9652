"""What somebody sees while a large checkpoint is asked about the candidates, which takes minutes."""

from types import SimpleNamespace

import numpy as np
import torch

from erased_folder import PANDA
from heard import Heard

from space_cli.core.phrasing import ERASE_OPEN
from space_cli.stages import select as stage


def test_each_question_about_the_candidates_is_told_and_so_is_the_trial(monkeypatch):
    responder = SimpleNamespace(answer_features=lambda features, questions: ["a bus."] * len(questions))
    pool = SimpleNamespace(items=[None] * 3)
    request = SimpleNamespace(concept=PANDA, allow_unknown=False, seed=0)
    monkeypatch.setattr(stage, "image_features", lambda *_: torch.zeros(3, 1, 1))
    monkeypatch.setattr(stage, "_require_known", lambda *_: None)
    monkeypatch.setattr(stage.Naming, "activation", lambda self, features: torch.zeros(len(features)))
    monkeypatch.setattr(stage.Naming, "__init__", lambda *_: None)
    progress = Heard()
    scores, leaking = stage._examined(responder, pool, request, np.arange(3), progress)
    assert progress.bars == [("ask about candidates", len(ERASE_OPEN), len(ERASE_OPEN))]
    assert progress.notes == ["no candidate goes by the name: trying whether the checkpoint knows it"]
    assert (scores, leaking) == ({0: 0.0, 1: 0.0, 2: 0.0}, set())
