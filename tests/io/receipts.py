"""A receipt of an erasure that changed nothing, for tests of what is read out of it."""

from space_cli.core.recipe import Concept, EraseRequest
from space_cli.core.records import ErasureReceipt, Run

PANDA = Concept(name="panda")


def make_receipt(inputs=(), concept=PANDA):
    return ErasureReceipt(
        space_version="0",
        seed=0,
        inputs=list(inputs),
        files=[],
        run=Run(created="", seconds=0),
        request=EraseRequest(concept=concept, model="m", anchors="a"),
        dtype="F32",
        layers=[],
        steps=0,
        stopped="",
        signals={},
        base_files=[],
    )
