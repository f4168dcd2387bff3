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
from hmgdm_monai.errors import InputError
from hmgdm_monai.networks.graph_tile_encoder import GraphTileEncoder
from hmgdm_monai.networks.tile_classifier import TileClassifier

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
    """Of an encoder of kind "hmgdm". The entity graph is an input, since superpixels cannot be exported.

    Superpixels grow and merge by a loop over pixels in compiled Python (numba): TorchScript, ``torch.export`` and ONNX
    know no such thing. A caller makes the graph by ``encoder.to_sample`` or by a program of its own: a vertex for each
    superpixel, at its centroid; an edge for each pair that touches; on both a window of the tile. An encoder without
    edge latents takes no windows of edges: :class:`ExportableVertexClassifier`.
    """

    input_names = ("vertex_windows", "edge_windows", "edge_index", "pos")

    def forward(self, vertex_windows: Tensor, edge_windows: Tensor, edge_index: Tensor, pos: Tensor) -> Tensor:
        """Logits (1, K).

        Args:
            vertex_windows: (V, 3, w, w) uint8.
            edge_windows: (E, 3, w, w) uint8.
            edge_index: (2, E) int64, each undirected edge once.
            pos: (V, 2) float32, centroids as shares of the tile's sides.
        """
        return self._logits(vertex_windows, edge_index, pos, edge_latents=self._encode(edge_windows))

    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """Windows, edges and positions of the tile's graph."""
        graph = self.network.encoder.to_sample(image)
        return tuple(graph[name] for name in self.input_names)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """V and E."""
        vertices, edges = torch.export.Dim("V", min=2), torch.export.Dim("E", min=2)
        return {0: vertices}, {0: edges}, {1: edges}, {0: vertices}

    def _encode(self, windows: Tensor) -> Tensor:
        return self.network.encoder.autoencoder.encode(windows.float() / 255.0)

    def _logits(self, vertex_windows: Tensor, edge_index: Tensor, pos: Tensor, **latents: Tensor) -> Tensor:
        # All vertices are of one graph. Said here, since a graph that stands alone counts its vertices in Python.
        graph = EntityGraph(
            pos=pos,
            edge_index=edge_index,
            vertex_latents=self._encode(vertex_windows),
            batch=torch.zeros_like(pos[:, 0], dtype=torch.long),
            **latents,
        )
        return self.network(graph)


class ExportableVertexClassifier(ExportableGraphClassifier):
    """Of an encoder of kind "hmgdm" without edge latents: windows of vertices alone, edges as pairs."""

    input_names = ("vertex_windows", "edge_index", "pos")

    def forward(self, vertex_windows: Tensor, edge_index: Tensor, pos: Tensor) -> Tensor:
        """Logits (1, K); arguments as in the base class."""
        return self._logits(vertex_windows, edge_index, pos)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """V and E."""
        vertices, edges = torch.export.Dim("V", min=2), torch.export.Dim("E", min=2)
        return {0: vertices}, {1: edges}, {0: vertices}


class ExportableImageClassifier(ExportableClassifier):
    """Of an encoder of kind "vit": images in, without anything before them but the stain normalisation, if any."""

    input_names = ("image",)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (1, K) of a tile (1, 3, S, S), float32 of values 0 to 255."""
        return self.network(Data(image=image))

    def inputs(self, image: Tensor) -> tuple[Tensor, ...]:
        """The tile, its stain normalised where the encoder wants that."""
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
    if isinstance(encoder, GraphTileEncoder) and not encoder.edge_windows:
        return ExportableVertexClassifier(network)
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
