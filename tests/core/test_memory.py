from types import SimpleNamespace

import pytest
import torch

from torch import nn
from transformers import LlamaConfig

from space_cli.core import memory

TEXT = LlamaConfig(hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32)


def shaped(text):
    model = nn.Linear(2, 2, dtype=torch.bfloat16)
    model.config = SimpleNamespace(get_text_config=lambda: text)
    return model


@pytest.mark.parametrize(("gigabytes", "least", "most"), [(80, 3, 8), (8, 1, 1)])
def test_a_card_of_a_size_takes_some_rows_of_seven_billion_weights(monkeypatch, gigabytes, least, most):
    monkeypatch.setattr(memory, "_device_bytes", lambda device: gigabytes * 10**9)
    assert least <= memory.rows_at_once(shaped(TEXT), 576) <= most


def test_text_alone_takes_more_rows_than_images(monkeypatch):
    monkeypatch.setattr(memory, "_device_bytes", lambda device: 80 * 10**9)
    assert memory.rows_at_once(shaped(TEXT), 0) > memory.rows_at_once(shaped(TEXT), 576)
