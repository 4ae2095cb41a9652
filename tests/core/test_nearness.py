import numpy as np
import torch

from space_cli.core.nearness import nearest_first, text_embeddings

WAY = {"panda": [3.0, 0.0], "bear": [2.0, 1.0], "bus": [0.0, 2.0], "cat": [1.0, 1.0]}


class Encoder:
    def texts(self, texts):
        return torch.tensor([WAY[text.split()[-1]] for text in texts])


def test_the_nearest_name_comes_first_and_ties_keep_their_order():
    names = ["bus", "cat", "bear", "bus"]
    found = text_embeddings(Encoder(), ["panda", *names])
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0)
    assert found.dtype == np.float64
    assert nearest_first(names, found) == ["bear", "cat", "bus", "bus"]


def test_no_other_name_is_no_order():
    assert nearest_first([], text_embeddings(Encoder(), ["panda"])) == []
