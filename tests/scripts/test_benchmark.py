"""The benchmark's command line, its turns, and its smaller parts on tiny input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch


def test_an_unknown_part_is_refused_and_names_those_there_are(capsys) -> None:
    import benchmark

    with pytest.raises(SystemExit):
        benchmark.main(["speed"])
    error = capsys.readouterr().err
    assert "speed" in error
    assert all(part in error for part in benchmark.PARTS)


def test_missing_real_data_is_one_line(monkeypatch, tmp_path, capsys) -> None:
    import benchmark

    monkeypatch.setenv("HMGDM_REAL_DATA", str(tmp_path / "nowhere"))
    assert benchmark.main(["representation", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "HMGDM_REAL_DATA" in error


def test_turns_alternate_and_the_first_round_does_not_count() -> None:
    from benchmark_parts.common import time_in_turns

    calls: list[str] = []
    seconds = time_in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert {name: values.shape for name, values in seconds.items()} == {"a": (3,), "b": (3,)}


def test_reading_is_timed_on_equal_pixels(write_tiff, stained, tmp_path) -> None:
    pytest.importorskip("cucim")
    from benchmark_parts.reading import measure_reading

    path = write_tiff(tmp_path / "slide.tif", [stained(400, 300)], compression="jpeg")
    for num_workers in (1, 2):
        r = measure_reading(path, tiles=6, size_px=64, num_workers=num_workers, repeats=2)
        np.testing.assert_allclose(r["ratio"], r["ours"] / r["cucim"])


def test_memory_of_a_step_grows_with_the_batch_and_not_with_its_square() -> None:
    from benchmark_parts.training import measure_training

    r = measure_training((2, 4, 8), hidden_dim=16, repeats=1, vertices=8, edges=12)
    assert r[4]["bytes"] == pytest.approx(2 * r[2]["bytes"], rel=0.1)
    assert r[8]["bytes"] == pytest.approx(4 * r[2]["bytes"], rel=0.1)
    assert r[2]["ratio"] == pytest.approx(1.0)


def test_synthetic_graphs_have_the_size_asked_for_and_no_edge_twice() -> None:
    from benchmark_parts.training import synthetic_graphs

    for graph in synthetic_graphs(2, vertices=9, edges=20):
        assert graph.pos.shape == (9, 2)
        assert graph.edge_index.shape == (2, 20)
        assert (graph.edge_index[0] < graph.edge_index[1]).all()
        assert graph.edge_index.unique(dim=1).shape == (2, 20)


def test_each_step_from_image_to_embedding_is_timed() -> None:
    from benchmark_parts import entities

    small = {
        "backbone": {"name": "efficientnet_lite0", "blocks": [2], "resize_px": None},
        "tile_size_px": 64,
        "n_segments": 9,
    }
    encoders = [
        entities.configured_encoder(**small, **{"backbone_entities::view": view}) for view in ("tile", "window")
    ]
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    measured = entities.measure_entities(*encoders, images, rounds=2)
    assert all(values.shape == (2,) and (values >= 0).all() for values in measured.values())
    # CPU time of a few tiles can be below its resolution; the report is of whole milliseconds.
    lines = entities.report({name: np.array([1.0, 2.0]) for name in measured})
    assert sum(line.startswith("| ") for line in lines) == len(measured) + 1
    assert any("image to embedding / backbone alone" in line and ": 1.00 (1.00 to 1.00)" in line for line in lines)


def test_real_or_stand_in_tiles_have_the_size_of_the_default(monkeypatch, tmp_path) -> None:
    from benchmark_parts.entities import tiles_in_memory

    monkeypatch.setenv("HMGDM_REAL_DATA", str(tmp_path))
    tiles = tiles_in_memory(3)
    assert tiles.shape == (3, 3, 256, 256) and tiles.dtype == np.uint8


def test_nuclei_table_and_times_on_small_images(tmp_path: Path, capsys, monkeypatch) -> None:
    """Images with nuclei of known place: the prior's row says that all are found."""
    import tifffile
    from benchmark_parts import cell_prior
    from PIL import Image

    labels = np.zeros((256, 256), np.uint16)
    for number in range(16):
        y, x = divmod(number, 4)
        labels[64 * y + 16 : 64 * y + 48, 64 * x + 16 : 64 * x + 48] = number + 1
    image = np.where(labels[..., None] > 0, (70, 50, 120), (230, 160, 200)).astype(np.uint8)
    tiles = tmp_path / "prostate_gleason" / "labelled" / "a"
    for folder in (tmp_path / "nuclei" / "images", tmp_path / "nuclei" / "labels", tiles):
        folder.mkdir(parents=True)
    tifffile.imwrite(tmp_path / "nuclei" / "images" / "a.tif", image, photometric="rgb")
    Image.fromarray(labels).save(tmp_path / "nuclei" / "labels" / "a.png")
    Image.fromarray(image).save(tiles / "t.jpg")
    monkeypatch.setenv("HMGDM_REAL_DATA", str(tmp_path))
    monkeypatch.setattr(cell_prior, "REPEATS", 1)
    cell_prior.main()
    printed = capsys.readouterr().out
    assert "| 0.25 | default prior | 1.000 (1.000 to 1.000) |" in printed
    assert printed.count("| Otsu |") == 3
    assert printed.count("ratio") == 2
