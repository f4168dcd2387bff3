"""Models in miniature, for all tests."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar

from recipes import NOISING, recipe_settings

if TYPE_CHECKING:
    from hmgdm_monai.entities.entity_encoder import EntityEncoder
    from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder


class TinyModels:
    """Models in miniature that nobody trained, the same at every call, and the settings that they are built from.

    They take tiles of 64 px.
    """

    backbone = {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None}
    hmgdm = {"latent_dim": 24, "hidden_dim": 16, "num_layers": 2, "heads": 2}
    vit = {"vit": {"image_px": 64, "patch_px": 16, "hidden_dim": 16, "num_layers": 2, "heads": 2}, "readout": "mean"}
    run: ClassVar[dict[str, Any]] = {"recipe": recipe_settings(), "noising": NOISING}

    def entities(self, kind: str = "backbone", **settings: Any) -> EntityEncoder:
        """An entity encoder of a kind: "backbone" (D = 24) or "window_autoencoder" (windows of 8 px, D = 64)."""
        import torch

        from hmgdm_monai.entities.backbone_entities import BackboneEntities
        from hmgdm_monai.entities.window_autoencoder import WindowAutoencoder

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if kind == "window_autoencoder":
                made = WindowAutoencoder(**{"window_px": 8, "widths": (8,), "latent_channels": 1, **settings})
            else:
                made = BackboneEntities(**{"backbones": self.backbone, "published": False, **settings})
                for module in made.modules():  # PyTorch's own start would let the tile fade from block to block
                    if isinstance(module, torch.nn.Conv2d):
                        torch.nn.init.kaiming_normal_(module.weight)
        return made.requires_grad_(False).eval()

    def encoder(
        self,
        kind: str = "hmgdm",
        run: dict[str, Any] | None = None,
        entities: EntityEncoder | None = None,
        **settings: Any,
    ) -> TileEncoder:
        """An encoder of tiles.

        Args:
            kind: "hmgdm" or "vit".
            run: its run settings; those of the class where None.
            entities: of an encoder of graphs; the one of a backbone where None.
            settings: of the network of graphs, other than those of ``hmgdm``.
        """
        import torch

        from hmgdm_monai.networks.encoders.graph_tile_encoder import GraphTileEncoder
        from hmgdm_monai.networks.methods.build import build_hmgdm
        from hmgdm_monai.saving.tile_encoders import build_tile_encoder

        run = copy.deepcopy(self.run) if run is None else run
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if kind == "vit":
                return build_tile_encoder("vit", self.vit, run).eval()
            network = {**self.hmgdm, **settings}
            if entities is None:
                entities = self.entities(edge_latents=network.get("edge_latents", True))
            network["latent_dim"] = entities.latent_dim
            return GraphTileEncoder(entities, build_hmgdm(**network), {"hmgdm": network}, run).eval()
