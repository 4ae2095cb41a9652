"""Watch or change linear layers for the length of a `with` block; every hook is removed at its end."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

Watcher = Callable[[str, Tensor], None]
"""Called with a layer's name and its input, [..., d_in]."""


@contextmanager
def watching(model: nn.Module, layers: Sequence[str], watcher: Watcher) -> Generator[None]:
    """Show the input of each named linear to `watcher`."""

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: watcher(name, inputs[0])

    handles = [model.get_submodule(name).register_forward_pre_hook(hook_for(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


Change = tuple[Tensor, Tensor] | Tensor
"""Low-rank factors (left [d_out, r], right [r, d_in]), or a dense ΔW [d_out, d_in]."""


@contextmanager
def editing(model: nn.Module, changes: Mapping[str, Change]) -> Generator[None]:
    """Add a change to the weight of each named linear, without touching the weight.

    Args:
        model: Holds the layers.
        changes: By layer name; gradients reach them.
    """

    def hook_for(change: Change) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        if isinstance(change, Tensor):
            return lambda _, inputs, output: output + inputs[0] @ change.T.to(inputs[0])
        left, right = change
        return lambda _, inputs, output: output + (inputs[0] @ right.T.to(inputs[0])) @ left.T.to(output)

    handles = [model.get_submodule(name).register_forward_hook(hook_for(c)) for name, c in changes.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
