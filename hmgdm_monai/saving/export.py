"""Export classifiers to formats that run without this package: TorchScript, torch.export, ONNX."""

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
    """A network that maps tensors to the logits (1, K) of one tile.

    :meth:`inputs` makes the tensors of an image. It is not part of the exported network.

    Args:
        network: classifier on the CPU, in evaluation mode.
    """

    input_names: tuple[str, ...]

    def __init__(self, network: TileClassifier) -> None:
        super().__init__()
        self.network = network.eval()

    @abstractmethod
    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the input tensors of the network for a tile (3, S, S) uint8."""

    @abstractmethod
    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """Return, for each input, the dimensions that change from tile to tile."""


class ExportableGraphClassifier(ExportableClassifier):
    """A classifier with an encoder of kind "hmgdm". The entity graph is an input, because it cannot be exported.

    Superpixels are grown and merged by a loop over pixels in compiled Python (numba), which TorchScript,
    ``torch.export`` and ONNX cannot represent. The caller makes the graph, by ``encoder.to_sample`` or by another
    program: one vertex per superpixel, at its centroid, and one edge per pair of touching superpixels. The exported
    file contains everything after that: backbone, pooling, graph encoder, head.

    Args:
        network: classifier on the CPU, in evaluation mode.

    Raises:
        InputError: the entities do not come from backbones with view "tile" and without shape channels (windows and
            shapes are not computed by tensor operations), or a backbone is an exported file itself.
    """

    input_names = ("image", "label_map", "edge_index", "pos")

    def __init__(self, network: TileClassifier) -> None:
        super().__init__(network)
        entities = network.encoder.entities
        if not isinstance(entities, BackboneEntities) or entities.view != "tile" or entities.shape_channels:
            raise InputError(
                "only entities of a backbone with view tile and without shape_channels can be exported; "
                "windows and shapes are not computed by tensor operations"
            )
        files = [backbone.name for backbone in entities.backbones if isinstance(backbone, ExportedBackbone)]
        if files:
            raise InputError(
                f"backbone {files[0]}: is an exported file itself, which cannot be part of another exported file"
            )

    def forward(self, image: Tensor, label_map: Tensor, edge_index: Tensor, pos: Tensor) -> Tensor:
        """Return logits (1, K).

        Args:
            image: (1, 3, S, S) uint8.
            label_map: (1, S, S) int32, entity of each pixel; -1 for pixels without entity.
            edge_index: (2, E) int64, each undirected edge once.
            pos: (V, 2) float32, centroids as fractions of the tile's sides.
        """
        # All vertices belong to one graph. `batch` is set because a single graph would count its vertices in Python.
        graph = EntityGraph(
            image=image,
            label_map=label_map,
            pos=pos,
            edge_index=edge_index,
            batch=torch.zeros_like(pos[:, 0], dtype=torch.long),
        )
        return self.network(self.network.encoder.prepare(graph))

    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the tile, its entities, their edges and their positions."""
        graph = self.network.encoder.to_sample(image)
        return tuple(graph[name] for name in self.input_names)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """Return the dimensions V (vertices) and E (edges)."""
        vertices, edges = torch.export.Dim("V", min=2), torch.export.Dim("E", min=2)
        return {}, {}, {1: edges}, {0: vertices}


class ExportableImageClassifier(ExportableClassifier):
    """A classifier with an encoder of kind "vit". Its input is the image, stain-normalized if the encoder uses that.

    Args:
        network: classifier on the CPU, in evaluation mode.
    """

    input_names = ("image",)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (1, K) of a tile (1, 3, S, S), float32, with values from 0 to 255."""
        return self.network(Data(image=image))

    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the tile, stain-normalized if the encoder uses stain normalization."""
        return (self.network.encoder.to_sample(image).image.float(),)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """Return no dimension: all tiles have the size of the training tiles."""
        return ({},)


def exportable(network: TileClassifier) -> ExportableClassifier:
    """Return the classifier as a network whose inputs are tensors.

    Args:
        network: trained classifier.

    Raises:
        InputError: encoders of this kind cannot be exported.
    """
    kinds = {"hmgdm": ExportableGraphClassifier, "vit": ExportableImageClassifier}
    encoder = network.encoder
    if encoder.kind not in kinds:
        raise InputError(f"encoders of kind {encoder.kind!r} cannot be exported; there are {', '.join(kinds)}")
    return kinds[encoder.kind](network)


@torch.no_grad()
def export(network: ExportableClassifier, image: Tensor, path: Path) -> None:
    """Write the network to ``path``; the file name extension chooses the format.

    Args:
        network: network to export.
        image: (3, S, S) uint8, an example tile.
        path: file name that ends in one of :data:`FORMATS`.

    Raises:
        InputError: the extension is unknown.
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
        raise InputError(f"{path}: the file name must end in one of {', '.join(FORMATS)}, which chooses the format")


def load_exported(path: Path) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Load a file of :func:`export` as a function of its inputs, which runs without code of this package."""
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
