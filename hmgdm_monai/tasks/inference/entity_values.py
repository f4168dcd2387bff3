"""Values of superpixels (or patches) that slide maps show, for one batch of tiles at a time.

docs/maps.md gives the formulas. In short, with entity v of tile t:

- principal component: that of the entity's own embedding; its mean over a tile is the tile's.
- class probability: softmax of the classifier's logits for the entity.
- gate: the fine-tuned classifier's weight of the entity times the number of entities.
- attention: that of the entity's tile, which all its entities share equally.
- risk: the tile's risk plus its first-order change from the tile's embedding to the entity's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch

from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.classifier_file import Classifier
from hmgdm_monai.tasks.inference.quantities import ATTENTION, RISK, TileValues

PC1 = ("pc1", "first principal component of the embeddings (no unit)")
GATE = ("gate", "attention of the gate (1 = even share)")


@dataclass(frozen=True)
class Measure:
    """A quantity of maps, without values.

    Attributes:
        name: name in file names and of the measurement in QuPath.
        label: label of the color bar, with unit.
        span: fixed range of the color scale; None uses the range of the cohort.
        ranked: whether figures show its most extreme tiles.
        outlined: whether entities of a tile differ, so that figures outline the most extreme.
    """

    name: str
    label: str
    span: tuple[float, float] | None = None
    ranked: bool = True
    outlined: bool = True


@dataclass(frozen=True)
class BatchValues:
    """Values of a batch of B tiles with N entities.

    Attributes:
        tiles: (Q, B) values of the tiles; NaN where a quantity has none.
        entities: (Q, N) values of the entities.
        tile: (N,) tile of each entity, ascending.
    """

    tiles: np.ndarray
    entities: np.ndarray
    tile: np.ndarray


class EntityValues:
    """Compute all quantities of the entities of tiles.

    Args:
        encoder: encoder of the embeddings.
        axis: mean (S,) and principal axis (S,) of the embeddings.
        classifier: classifier of tiles; None for no probabilities.
        survival: whether values of a survival model are given.

    Attributes:
        measures: the Q quantities.
    """

    def __init__(
        self,
        encoder: TileEncoder,
        axis: tuple[np.ndarray, np.ndarray],
        classifier: Classifier | None = None,
        survival: bool = False,
    ) -> None:
        self.encoder, self.axis, self.classifier, self.survival = encoder, axis, classifier, survival
        self.measures = [Measure(*PC1, ranked=False)]
        if survival:
            self.measures += [Measure(*ATTENTION, outlined=False), Measure(*RISK)]
        if classifier is not None:
            self.measures += [
                Measure(f"probability_{c}", f"probability of {c}", (0.0, 1.0)) for c in classifier.classes
            ]
            if isinstance(classifier.network, GatedTileClassifier):
                self.measures.append(Measure(*GATE))

    def of_batch(self, samples: Batch, known: TileValues | None = None) -> BatchValues:
        """Compute the values of a batch.

        Args:
            samples: samples of B tiles.
            known: values of a survival model for these tiles; None without such a model.
        """
        samples = samples.to(next(self.encoder.parameters()).device)
        with torch.inference_mode():
            prepared = self.encoder.prepare(samples)
            found, index = self.encoder.embed_entities(prepared)
            entities, tile = _array(found), _array(index)
            embeddings = _array(self.encoder.embed(prepared))
            mean, axis = self.axis
            of_tiles, of_entities = [(embeddings - mean) @ axis], [(entities - mean) @ axis]
            if known is not None:
                change = np.einsum("ns,ns->n", entities - embeddings[tile], known.slope[tile])
                of_tiles += [known.attention, known.risk]
                of_entities += [known.attention[tile], known.risk[tile] + change]
            if self.classifier is not None:
                network: Any = self.classifier.network
                same = self.encoder.prepares_as(network.encoder)
                theirs = prepared if same else network.encoder.prepare(samples)
                logits, weights = network.entity_logits(theirs)
                of_entities += list(_array(logits.softmax(1)).T)
                of_tiles += list(_array(network(theirs).softmax(1)).T)
                if isinstance(network, GatedTileClassifier):
                    of_entities.append(_array(weights) * np.bincount(tile)[tile])
                    of_tiles.append(np.full(len(embeddings), np.nan))
        return BatchValues(np.stack(of_tiles), np.stack(of_entities), tile)


def _array(values: torch.Tensor) -> np.ndarray:
    return values.float().cpu().numpy() if values.is_floating_point() else values.cpu().numpy()
