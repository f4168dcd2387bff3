"""Compute latents of entities from the feature maps of pretrained backbones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.backbones.backbone import Backbone
from hmgdm_monai.entities.backbones.build import BackboneSettings, build_backbone
from hmgdm_monai.entities.cell_channels import SHAPE_CHANNELS, graph_shape_channels
from hmgdm_monai.entities.entity_encoder import EntityEncoder
from hmgdm_monai.entities.pooling import pool_over_superpixels
from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.entity_windows import graph_windows

ENTITY_VIEWS = ("tile", "window")
_WINDOWS_AT_ONCE = 256


class BackboneEntities(EntityEncoder):
    """Average feature maps of one or several frozen backbones over superpixels and over the seams between them.

    The channels of all maps of all backbones are concatenated. They are neither rotated nor whitened: a linear probe
    scales each channel to unit variance, so the noise of whitened components would get the weight of signal.

    Args:
        backbones: one or several, by name or by settings; see :func:`hmgdm_monai.entities.backbones.build_backbone`.
        edge_latents: whether edges get latents too.
        view: "tile" runs a backbone on the tile and pools its maps. Its receptive field extends beyond a superpixel, so
            entities that a method hides are not completely hidden. "window" runs it on a window around each entity and
            averages over the window: entities share only pixels, at a higher cost.
        window_px: side of these windows in px.
        seam_px: half the width of the band along the border of two superpixels over which their edge is pooled, in px.
        shape_channels: whether to append size, shape and stain of each entity to the channels of the backbones; edges
            get the mean of both ends. See :mod:`hmgdm_monai.entities.cell_channels`. They cannot be exported.
        published: whether to load the published weights of a backbone; False leaves this to a checkpoint.

    Raises:
        InputError: the view is unknown, a number is out of range, or a backbone is not available.

    Example:
        >>> import numpy as np
        >>> from hmgdm_monai import BackboneEntities, tile_to_graph
        >>> graph = tile_to_graph(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), n_segments=9)
        >>> small = {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None}
        >>> entities = BackboneEntities(small, published=False)
        >>> entities.latent_dim
        24
        >>> latents = entities.latent_graph(graph)
        >>> tuple(latents.vertex_latents.shape) == (graph.num_vertices, 24)
        True
    """

    kind = "backbone"

    def __init__(
        self,
        backbones: BackboneSettings | Sequence[BackboneSettings] = "efficientnet_lite0",
        edge_latents: bool = True,
        view: str = "tile",
        window_px: int = 64,
        seam_px: int = 2,
        shape_channels: bool = False,
        published: bool = True,
    ) -> None:
        super().__init__()
        if view not in ENTITY_VIEWS:
            raise InputError(f"backbone_entities: view must be one of {', '.join(ENTITY_VIEWS)}, not {view!r}")
        if seam_px < 1 or window_px < 8:
            raise InputError(f"seam_px must be at least 1 and window_px at least 8, not {seam_px} and {window_px}")
        several = [backbones] if isinstance(backbones, str | Mapping) else list(backbones)
        if not several:
            raise InputError("backbone: give at least one")
        self.backbones = nn.ModuleList(build_backbone(one, published) for one in several)
        self.edge_latents, self.view = edge_latents, view
        self.window_px, self.seam_px, self.shape_channels = window_px, seam_px, shape_channels

    @property
    def latent_dim(self) -> int:
        """Size D of a latent: channels of all backbones, and those of shape."""
        return self._channels + (len(SHAPE_CHANNELS) if self.shape_channels else 0)

    @property
    def _channels(self) -> int:
        return sum(backbone.channels for backbone in self._all())

    @property
    def settings(self) -> Mapping[str, Any]:
        """The constructor arguments, as JSON values."""
        return {
            "backbones": [dict(backbone.settings) for backbone in self._all()],
            "edge_latents": self.edge_latents,
            "view": self.view,
            "window_px": self.window_px,
            "seam_px": self.seam_px,
            "shape_channels": self.shape_channels,
        }

    def digest(self) -> str:
        """SHA-256 of settings and weights."""
        # Shape channels enter by their names, if they are used, because their list may change.
        settings = {name: value for name, value in self.settings.items() if name != "shape_channels"}
        parts = [self.kind, settings, [backbone.digest() for backbone in self._all()]]
        parts += [list(SHAPE_CHANNELS)] if self.shape_channels else []
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def forward(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        """See the base class.

        Raises:
            InputError: a backbone does not return a feature map, or its values are not finite; or shape channels are
                used in an export or on tiles of unknown scale.
        """
        vertices, edges = self._of_windows(graph) if self.view == "window" else self._of_tiles(graph)
        if not self.shape_channels:
            return vertices, edges
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            raise InputError("shape channels are computed outside of tensors and cannot be exported")
        of_vertices, of_edges = graph_shape_channels(graph)
        vertices = torch.cat((vertices, of_vertices), dim=1)
        return vertices, None if edges is None else torch.cat((edges, of_edges), dim=1)

    def _of_tiles(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        maps = [one for backbone in self._all() for one in backbone(graph.image)]
        seam_px = self.seam_px if self.edge_latents else None
        return pool_over_superpixels(maps, graph.label_map, graph.vertex_batch, graph.pos, graph.edge_index, seam_px)

    def _of_windows(self, graph: EntityGraph) -> tuple[Tensor, Tensor | None]:
        device = graph.pos.device
        vertices, edges = graph_windows(graph, self.window_px, self.edge_latents)
        return self._pool_windows(vertices, device), None if edges is None else self._pool_windows(edges, device)

    def _pool_windows(self, windows: Tensor, device: torch.device) -> Tensor:
        """Latents (N, D) of windows (N, 3, w, w)."""
        latents = []
        for some in windows.split(_WINDOWS_AT_ONCE):
            maps = [one for backbone in self._all() for one in backbone(some.to(device))]
            latents.append(torch.cat([one.float().mean((2, 3)) for one in maps], dim=1))
        return torch.cat(latents) if latents else torch.zeros(0, self._channels, device=device)

    def _all(self) -> list[Backbone]:
        return cast(list[Backbone], list(self.backbones))
