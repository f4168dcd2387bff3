"""Values of superpixels (or patches) that slide maps show, for one batch of tiles at a time.

docs/maps.md gives the formulas. In short, with entity v of tile t:

- principal component: that of the entity's own embedding; its mean over a tile is the tile's.
- class probability: softmax of the classifier's logits for the entity.
- gate: the fine-tuned classifier's weight of the entity times the number of entities.
- attention: that of the entity's tile, which all its entities share equally.
- prediction of a model of patients: that of the tile's outputs, followed to first order to the entity's embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch

from hmgdm_monai.networks.classifiers.tile_classifier import GatedTileClassifier
from hmgdm_monai.networks.encoders.tile_encoder import TileEncoder
from hmgdm_monai.saving.classifier_file import Classifier
from hmgdm_monai.saving.patient_file import PatientModel
from hmgdm_monai.tasks.inference.patient_values import ATTENTION, PatientValues, predicted_quantities

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
        patient_models: models of patients, one or the folds of an ensemble; None for no attention and prediction.

    Attributes:
        measures: the Q quantities.
    """

    def __init__(
        self,
        encoder: TileEncoder,
        axis: tuple[np.ndarray, np.ndarray],
        classifier: Classifier | None = None,
        patient_models: Sequence[PatientModel] | None = None,
    ) -> None:
        self.encoder, self.axis, self.classifier, self.patient_models = encoder, axis, classifier, patient_models
        self.measures = [Measure(*PC1, ranked=False)]
        if patient_models is not None:
            self.measures.append(Measure(*ATTENTION, outlined=False))
            self.measures += [Measure(*named) for named in predicted_quantities(patient_models[0])]
        if classifier is not None:
            self.measures += [
                Measure(f"probability_{c}", f"probability of {c}", (0.0, 1.0)) for c in classifier.classes
            ]
            if isinstance(classifier.network, GatedTileClassifier):
                self.measures.append(Measure(*GATE))

    def of_batch(self, samples: Batch, known: PatientValues | None = None) -> BatchValues:
        """Compute the values of a batch.

        Args:
            samples: samples of B tiles.
            known: values of the models of patients for these tiles; None without such models.
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
                of_tiles += [known.attention, *known.prediction.T]
                of_entities += [known.attention[tile], *known.of_entities(tile, entities - embeddings[tile]).T]
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
