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


def test_what_weights_and_moments_have_left_bounds_the_rows(monkeypatch):
    monkeypatch.setattr(memory, "_device_bytes", lambda device: 80 * 10**9)
    plenty = memory.rows_at_once(shaped(TEXT), 576)
    monkeypatch.setattr(memory, "_free_bytes", lambda device: 40 * 10**9)
    assert memory.rows_at_once(shaped(TEXT), 576) == plenty
    monkeypatch.setattr(memory, "_free_bytes", lambda device: 14 * 10**9)
    assert 1 < memory.rows_at_once(shaped(TEXT), 576) < plenty
    monkeypatch.setattr(memory, "_free_bytes", lambda device: 0.0)
    assert memory.rows_at_once(shaped(TEXT), 576) == 1


def test_what_torch_holds_and_does_not_use_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 60)
    assert memory._free_bytes(torch.device("cuda:1")) == 13
    assert memory._free_bytes(torch.device("cpu")) == float("inf")


@pytest.mark.parametrize(("gigabytes", "rows"), [(150, (64, 200)), (80, (40, 64)), (24, (8, 20)), (1, (1, 1))])
def test_a_card_of_a_size_writes_some_answers_of_seven_billion_weights(monkeypatch, gigabytes, rows):
    monkeypatch.setattr(memory, "_device_bytes", lambda device: gigabytes * 10**9)
    assert rows[0] <= memory.answers_at_once(shaped(TEXT), 576, 24) <= rows[1]


def test_heads_that_share_keys_take_less_room(monkeypatch):
    monkeypatch.setattr(memory, "_device_bytes", lambda device: 80 * 10**9)
    shared = LlamaConfig(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8)
    ours, theirs = (memory.answers_at_once(shaped(text), 576, 24) for text in (TEXT, shared))
    assert 4 * ours <= theirs <= 4 * ours + 4
