"""Whether two checkpoints see images alike, as most do of which one was erased from the other."""

import torch

from torch import Tensor

from space_cli.core.protocols import Responder
from space_cli.core.remembering import Looks, Remembering
from space_cli.io.model import CheckpointResponder


def both_remembering(base: Responder, erased: Responder) -> tuple[Remembering, Remembering]:
    """Let both remember; where they see alike, one look at an image is enough for the two."""
    looks = Looks()
    return Remembering(base, looks), Remembering(erased, looks if see_alike(base, erased) else None)


def see_alike(one: Responder, other: Responder) -> bool:
    """Tell whether all but connector and decoder is the same, bit by bit; of what is no checkpoint that is unknown."""
    if not (isinstance(one, CheckpointResponder) and isinstance(other, CheckpointResponder)):
        return False
    if one.family != other.family or one.preparation() != other.preparation():
        return False
    towers = _tower(one), _tower(other)
    return towers[0].keys() == towers[1].keys() and all(
        torch.equal(tensor, towers[1][name]) for name, tensor in towers[0].items()
    )


def _tower(responder: CheckpointResponder) -> dict[str, Tensor]:
    others = (f"{responder.family.connector}.", f"{responder.family.language_model}.")
    return {name: tensor for name, tensor in responder.model.state_dict().items() if not name.startswith(others)}
