"""What the files of an inference are called."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

from hmgdm_monai.data.files.safe_name import safe_name
from hmgdm_monai.data.manifest.manifest import ManifestRow
from hmgdm_monai.tasks.inference.embed import CohortEmbedding
from hmgdm_monai.tasks.inference.embedded import Embedded
from hmgdm_monai.tasks.inference.report import InferenceReport


def embedding_of(row_ids: list[str], tmp_path) -> CohortEmbedding:
    """Of a cohort with these rows, as far as names go."""
    embedding = object.__new__(CohortEmbedding)
    embedding.folder = tmp_path
    embedding.result = Embedded(rows={row_id: ManifestRow(tmp_path / row_id, "p", 2) for row_id in row_ids})
    return embedding


def test_no_two_slides_share_a_file_whatever_they_are_called(tmp_path):
    row_ids = [
        "s",
        "a/s",
        "b/s",
        "../s",
        "a/t",
        "embeddings",
        "b/embeddings",
        "..%2Fs",
        "a%2Fs",
        "x" * 300,
        "y" + "x" * 299,
    ]
    embedding = embedding_of(row_ids, tmp_path)
    paths = [embedding.slide_path(row_id) for row_id in row_ids]
    assert len(set(paths)) == len(row_ids)
    assert tmp_path / "embeddings.h5" not in paths
    assert {path.parent for path in paths} == {tmp_path}
    assert embedding.slide_path("a/t").name == "t.h5"


def test_no_two_maps_share_a_file(tmp_path):
    row_ids = ["a", "a_x1_y2", "a_probability", "a_probability_b", "a_b", "a_1"]
    quantities = ["pc1", "attention", "risk", "x1_y2_attention", "x-1_y2_attention"]
    quantities += [f"probability_{name}" for name in ("b", "probability_b", "pc1", "x1_y2_attention", "b_attention")]
    report = SimpleNamespace(embedding=embedding_of(row_ids, tmp_path))
    stems = [InferenceReport._map_stem(report, row_id) for row_id in row_ids]
    names = [safe_name(f"{stem}_{quantity}") for stem, quantity in product(stems, quantities)]
    assert len(set(names)) == len(names)
    assert stems[0] == "a" and stems[4:] == ["a_b", "a_1"]
