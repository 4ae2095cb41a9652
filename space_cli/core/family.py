"""Where the parts of a model family are: data, so that no engine code names a model class."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from space_cli.core.errors import ArtifactFault, UsageFault


@dataclass(frozen=True)
class Family:
    """Module names in memory, parameter names on disk, and how the tower is read."""

    model_type: str
    tower: str  # module name of the vision tower
    connector: str  # module name of the image-to-text adapter
    language_model: str  # module name of the decoder without its head
    connector_layers: tuple[str, ...]  # editable linears of the connector
    mlp_layers: tuple[str, ...]  # linears of the decoder's MLPs where identity is looked up, first block first
    every_mlp_layer: tuple[str, ...]  # those of all blocks
    tower_layers: tuple[str, ...]  # linears of the MLPs of the tower's last blocks that are read; none if none is read
    tower_begins: int  # the first of these blocks; what enters it comes from weights that no erasure changes
    disk_prefixes: tuple[tuple[str, str], ...]  # (in memory, on disk), tried in this order
    image_token: int  # id of the placeholder that visual tokens replace
    visual_tokens: int  # placeholders an image takes
    tower_tokens: int  # tokens of an image inside the tower, a class token among them
    encoder: str  # hub id of the contrastive encoder that shares the tower
    features: Callable[[nn.Module, Tensor], Tensor]  # (model, pixels [n, 3, h, w]) -> [n, p, v]
    lower: Callable[[nn.Module, Tensor, int], Tensor]  # (model, pixels, block) -> what enters the block, [n, q, v]
    upper: Callable[[nn.Module, Tensor, int], Tensor]  # (model, that, block) -> what `features` returns, [n, p, v]

    def layers(self, scope: str) -> tuple[str, ...]:
        """Return the editable layers of a scope.

        `connector`, `blocks` (the decoder's MLPs), `mlp` (the connector's last linear too), `vision` (the tower's last
        MLPs and the connector's last linear) or `all` (all but the tower's).

        Raises:
            UsageFault: The scope is `vision`, and the checkpoint reads no block of its tower.
        """
        if scope == "connector":
            return self.connector_layers
        if scope == "blocks":
            return self.mlp_layers
        if scope == "mlp":
            return (self.connector_layers[-1], *self.mlp_layers)
        if scope == "vision":
            if not self.tower_layers:
                raise UsageFault(
                    "the checkpoint reads no block of its vision tower: the scope `vision` would change nothing there",
                    hint="choose another `--scope`",
                )
            return (*self.tower_layers, self.connector_layers[-1])
        return (*self.connector_layers, *self.every_mlp_layer)

    def begins(self, *scopes: str) -> int | None:
        """Return the tower's block in front of which an image's features lie upstream of all that scopes may change.

        None is behind the tower, where nothing of it may change: features are then what the connector reads.
        """
        return self.tower_begins if "vision" in scopes else None

    def parameter(self, layer: str, on_disk: Iterable[str]) -> str:
        """Return the name under which a checkpoint stores the weight of `layer`.

        Raises:
            ArtifactFault: None of the known layouts names it.
        """
        known = set(on_disk)
        for memory, disk in self.disk_prefixes:
            name = f"{disk}{layer.removeprefix(memory)}.weight"
            if layer.startswith(memory) and name in known:
                return name
        raise ArtifactFault(
            f"the checkpoint stores no weight for `{layer}`: its key layout is unknown",
            hint="erase from the original checkpoint, not from an adapter or a quantised export of it",
        )
