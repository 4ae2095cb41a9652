import re

from dataclasses import replace

import pytest
import torch

from PIL import Image

from benchmarks import roundings
from benchmarks.league import bench
from benchmarks.league.bench import opened
from benchmarks.league.cells import CellFailure
from benchmarks.league.entries import SMALL, entries
from benchmarks.league.subjects import Bundled, Job
from space_cli.core.quantizing import rtn4
from space_cli.core.types import Probe, ProbeImage

SHOWN = [ProbeImage(Image.new("RGB", (4, 4)), name, f"{name}.png") for name in ("owl", "bear", "bus", "cup")]


class Fragile:
    """Names one image less for each way of rounding that it has not met before."""

    def __init__(self) -> None:
        self.model = torch.nn.Linear(256, 2, bias=False)
        self.met: list[torch.Tensor] = []

    def answer(self, images, questions, **_):
        weight = self.model.weight.detach().clone()
        if not any(torch.equal(weight, one) for one in self.met):
            self.met.append(weight)
        known = len(SHOWN) + 1 - len(self.met)
        return [one.name if row < known else "a thing" for row, one in enumerate(SHOWN)]


def test_inputs_are_grouped_in_other_orders():
    weight = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    found = [roundings.shuffled(seed)(weight) for seed in (0, 0, 1)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    error, usual = (float((one - weight).pow(2).mean()) for one in (found[0], rtn4(weight)))
    assert error == pytest.approx(usual, rel=0.1)
    one_group = weight[:, :128]
    assert torch.allclose(roundings.shuffled(3)(one_group), rtn4(one_group)), "each input keeps its place"


def test_the_weights_are_asked_about_as_they_are_and_rounded(monkeypatch):
    monkeypatch.setattr(roundings, "DRAWS", 2)
    names = tuple(one.name for one in SHOWN)
    probe = Probe(name="panda", phrase="a panda", aliases=("panda",), kind=None, retain=SHOWN, names=names)
    responder = Fragile()
    before = responder.model.weight.detach().clone()
    assert roundings.names_of(responder, probe) == {"whole": [1.0], "order": [0.75], "draws": [0.5, 0.25]}
    assert torch.equal(responder.model.weight, before)


def test_the_page_tells_luck_from_loss(tmp_path):
    names = {
        "base": {"whole": [0.9], "order": [0.9], "draws": [0.88, 0.86]},
        "erased": {"whole": [0.9], "order": [0.88], "draws": [0.87, 0.85]},
    }
    made = {"subject": "caltech", "commit": "f00", "checkpoint": "c", "method": "dcsi", "seed": 0, "names": names}
    text = "\n".join(roundings.page([made | {"concept": one} for one in ("lamp", "kangaroo")]))
    assert "lamp (caltech), kangaroo (caltech)" in text
    assert "| base, lost | 0.0300" in text
    assert "| erased loses more by | 0.0100" in text
    assert "| the same, groups in order alone | 0.0200" in text
    assert "| rounded, erased minus base | -0.0100" in text
    wholes = (("lamp", 0.9), ("car", 1.0), ("kangaroo", 1.0))
    bases = [(one, names | {"base": names["base"] | {"whole": [share]}}) for one, share in wholes]
    text = "\n".join(roundings.page([made | {"concept": one, "names": told} for one, told in bases]))
    assert re.search(r"base, as it is \| 0.9667 \(0.\d{4} to 1.0000\)", text), "a share is never above 1"
    assert "| base, lost | 0.0967 (-0." in text, "a difference may be below 0"
    assert "Nothing is measured" in "\n".join(roundings.page([]))


@pytest.mark.slow
def test_base_and_erased_are_given_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "CACHE", tmp_path)
    job = Job(Bundled(), Bundled().developments[0], 0)
    entry = replace(entries()["ga"], select=SMALL).with_settings({"lr": 1e-2, "steps": 4})
    with opened(entry, job) as (before, after, probe):
        layers = [name for name, one in after.model.named_parameters() if "mlp" in name and "language" in name]
        pairs = [(before.model.get_parameter(name), after.model.get_parameter(name)) for name in layers]
        assert any(not torch.equal(one, other) for one, other in pairs)
        assert probe.retain
    assert all(torch.equal(one, other) for one, other in pairs), "the edit is taken out again"
    with pytest.raises(CellFailure, match="exit code 3"), opened(replace(entry, limited=True), job):
        pass
    bench._bench.cache_clear()
