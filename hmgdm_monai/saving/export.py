"""Classifiers as networks of plain tensors, that leave Python: TorchScript, torch.export, ONNX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from hmgdm_monai.data.entity_graph import EntityGraph
from hmgdm_monai.entities.backbone_entities import BackboneEntities
from hmgdm_monai.entities.backbones.exported_backbone import ExportedBackbone
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.classifiers.tile_classifier import TileClassifier

FORMATS = ("pt2", "ts", "onnx")  # torch.export, TorchScript by tracing, ONNX


class ExportableClassifier(nn.Module, ABC):
    """Logits (1, K) of one tile from tensors; :meth:`inputs` makes those of an image, outside the exported network.

    Args:
        network: on the CPU, in evaluation mode.
    """

    input_names: tuple[str, ...]

    def __init__(self, network: TileClassifier) -> None:
        super().__init__()
        self.network = network.eval()

    @abstractmethod
    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """What the network takes of a tile (3, S, S) uint8."""

    @abstractmethod
    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """Of each input the dimensions that change from tile to tile."""


class ExportableGraphClassifier(ExportableClassifier):
    """Of an encoder of kind "hmgdm". Entities and their graph are inputs, since they cannot be exported.

    Superpixels grow and merge by a loop over pixels in compiled Python (numba): TorchScript, ``torch.export`` and ONNX
    know no such thing. A caller makes them by ``encoder.to_sample`` or by a program of its own: a vertex for each
    superpixel, at its centroid; an edge for each pair that touches. All behind them is in the exported file: backbone,
    pooling, graph encoder, head.

    Raises:
        InputError: the entities are no backbone's maps of the tile alone (windows and shapes are made outside of
            tensors), or a backbone is a file itself.
    """

    input_names = ("image", "label_map", "edge_index", "pos")

    def __init__(self, network: TileClassifier) -> None:
        super().__init__(network)
        entities = network.encoder.entities
        if not isinstance(entities, BackboneEntities) or entities.view != "tile" or entities.shape_channels:
            raise InputError(
                "only entities of a backbone can be exported, with view tile and without shape_channels; "
                "windows and shapes are made outside of tensors"
            )
        files = [backbone.name for backbone in entities.backbones if isinstance(backbone, ExportedBackbone)]
        if files:
            raise InputError(f"backbone {files[0]}: is an exported file itself, which cannot be put into another")

    def forward(self, image: Tensor, label_map: Tensor, edge_index: Tensor, pos: Tensor) -> Tensor:
        """Logits (1, K).

        Args:
            image: (1, 3, S, S) uint8.
            label_map: (1, S, S) int32, entity of each pixel, -1 where there is none.
            edge_index: (2, E) int64, each undirected edge once.
            pos: (V, 2) float32, centroids as shares of the tile's sides.
        """
        # All vertices are of one graph. Said here, since a graph that stands alone counts its vertices in Python.
        graph = EntityGraph(
            image=image,
            label_map=label_map,
            pos=pos,
            edge_index=edge_index,
            batch=torch.zeros_like(pos[:, 0], dtype=torch.long),
        )
        return self.network(self.network.encoder.prepare(graph))

    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """The tile, its entities, their edges and positions."""
        graph = self.network.encoder.to_sample(image)
        return tuple(graph[name] for name in self.input_names)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """V and E."""
        vertices, edges = torch.export.Dim("V", min=2), torch.export.Dim("E", min=2)
        return {}, {}, {1: edges}, {0: vertices}


class ExportableImageClassifier(ExportableClassifier):
    """Of an encoder of kind "vit": images in, without anything before them but the stain normalization, if any."""

    input_names = ("image",)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (1, K) of a tile (1, 3, S, S), float32 of values 0 to 255."""
        return self.network(Data(image=image))

    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """The tile, its stain normalized where the encoder wants that."""
        return (self.network.encoder.to_sample(image).image.float(),)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """None: a tile is of the size of training."""
        return ({},)


def exportable(network: TileClassifier) -> ExportableClassifier:
    """The classifier as a network of tensors.

    Raises:
        InputError: there is no such form of its kind of encoder.
    """
    kinds = {"hmgdm": ExportableGraphClassifier, "vit": ExportableImageClassifier}
    encoder = network.encoder
    if encoder.kind not in kinds:
        raise InputError(f"encoders of kind {encoder.kind!r} cannot be exported; there are {', '.join(kinds)}")
    return kinds[encoder.kind](network)


@torch.no_grad()
def export(network: ExportableClassifier, image: Tensor, path: Path) -> None:
    """Write the network to ``path``, in the format of its ending.

    Args:
        network: to export.
        image: (3, S, S) uint8, a tile like those to come.
        path: ends in one of :data:`FORMATS`.

    Raises:
        InputError: another ending.
    """
    example = network.inputs(image)
    kind = path.suffix[1:]
    if kind == "ts":
        torch.jit.trace(network, example, check_trace=False).save(str(path))
    elif kind == "pt2":
        torch.export.save(torch.export.export(network, example, dynamic_shapes=network.dynamic_shapes()), path)
    elif kind == "onnx":
        torch.onnx.export(
            network,
            example,
            str(path),
            dynamo=True,
            verbose=False,
            input_names=list(network.input_names),
            output_names=["logits"],
            dynamic_shapes=network.dynamic_shapes(),
            external_data=False,
        )
    else:
        raise InputError(f"{path}: the format is told by the ending, one of {', '.join(FORMATS)}")


def load_exported(path: Path) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """A file of :func:`export` as a function of its inputs, that runs without any of our code."""
    if path.suffix in (".ts", ".pt2"):
        module = torch.jit.load(str(path)) if path.suffix == ".ts" else torch.export.load(path).module()

        def run(inputs: tuple[Tensor, ...]) -> Tensor:
            with torch.no_grad():
                return module(*inputs)

        return run
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run_session(inputs: tuple[Tensor, ...]) -> Tensor:
        named = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(session.run(None, named)[0])

    return run_session
