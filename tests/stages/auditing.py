"""An audit of a fake checkpoint that has forgotten the panda."""

import numpy as np
import torch

from fakes import NAMES, picture

from space_cli.core import registry
from space_cli.core.protocols import Silent
from space_cli.core.recipe import AuditRequest, IndexRequest
from space_cli.core.records import PoolManifest, Run
from space_cli.io.probe import Material
from space_cli.stages import audit as stage

BY_DEFAULT = {
    name.replace("-", "_")
    for name in registry.names("metrics")
    if getattr(registry.load("metrics", name), "DEFAULT", True)
}
# Its attack needs gradients through a language model, which a table of answers has not.
QUICK = tuple(sorted(BY_DEFAULT - {"elicitation"}))


def material(*, pool=True):
    request = IndexRequest(sources=("x",), encoder="e")
    facts = {"space_version": "0", "seed": 0, "inputs": [], "files": [], "run": Run(created="", seconds=0)}
    manifest = PoolManifest(**facts, request=request, images=1, errors=0, width=2, encoder_sha256="0")
    views = [picture("rose", view) for view in range(4)]
    used = [picture("panda", 90 + view) for view in range(3)]
    gone = "the pool is gone"
    return Material(views[:2], views, manifest, used=used) if pool else Material([], [], None, gone, unused=gone)


def embeddings(pool, phrases, device):
    """Place names on a circle in the order of `NAMES`, so that bear and koala are nearest to the panda."""
    angles = np.array([NAMES.index(phrase.split()[-1]) / len(NAMES) for phrase in phrases])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def layered():
    """A model with the layers that `make_edits` edits, so that an edit can be taken off while it is asked."""
    model = torch.nn.Module()
    model.model = torch.nn.Module()
    model.model.layers = torch.nn.ModuleList(torch.nn.Module() for _ in range(2))
    for layer in model.model.layers:
        layer.down = torch.nn.Linear(6, 4)
    return model


def run(erased, out, **more):
    request = AuditRequest(**({"erased": str(erased), "metrics": QUICK} | more))
    return stage.audit(request, out, progress=Silent())
