from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch_geometric.data import Batch
from tqdm import tqdm

from hmgdm_monai.data.files.features_file import read_features
from hmgdm_monai.data.files.tile_embeddings_file import read_tile_embeddings
from hmgdm_monai.data.stores.graph_store import GraphStore
from hmgdm_monai.data.stores.latent_store import LatentStore
from hmgdm_monai.errors import InputError
from hmgdm_monai.preparation.cohort import build_graph_stores
from hmgdm_monai.preparation.encode import encode_stores
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.saving.encoder_file import load_encoder
from hmgdm_monai.tasks.inference import embed as embed_module
from hmgdm_monai.tasks.inference.embed import CohortEmbedding, embed_slides


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def cohort(tmp_path, stained, write_tiff):
    """Three slides of 4, 6 and 9 tiles (two of one name), three plain tiles, a blank slide and a damaged one."""
    names = ["a/s.tif", "b/s.tif", "b/t.tif"]
    for number, (name, (across, down)) in enumerate(zip(names, [(2, 2), (3, 2), (3, 3)], strict=True)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = np.roll(stained(64 * across, 64 * down), 17 * number, axis=1)
        write_tiff(tmp_path / name, [pixels], compression="zlib")
    for number in range(3):
        Image.fromarray(np.roll(stained(64, 64), 9 * number, axis=0)).save(tmp_path / f"t{number}.png")
    write_tiff(tmp_path / "blank.tif", [np.full((256, 256, 3), 250, np.uint8)])
    (tmp_path / "broken.tif").write_bytes(b"II*\0 no slide")
    images = [*names, "blank.tif", "broken.tif", *(f"t{number}.png" for number in range(3))]
    (tmp_path / "cohort.csv").write_text("image,patient\n" + "".join(f"{name},p\n" for name in images))
    return tmp_path / "cohort.csv"


def test_embeddings_equal_those_through_the_stores(tmp_path, cohort, tiny_pretrained):
    result = embed_slides(tiny_pretrained, cohort, tmp_path / "e", batch_tiles=4, progress=False)
    recipe = recipe_of(tiny_pretrained.run_settings)
    graphs = build_graph_stores(cohort, tmp_path / "g", recipe, progress=False)
    paths = encode_stores(tiny_pretrained.entities, graphs.paths, tmp_path / "z", progress=False)
    latents, store = LatentStore(paths), GraphStore(graphs.paths, tiles=False)
    with torch.no_grad():
        expected = tiny_pretrained.hmgdm.embed(Batch.from_data_list([latents[i] for i in range(len(latents))])).numpy()
    infos = [store.tile_info(i) for i in range(len(store))]
    assert sorted(result.slides) == ["a/s", "b/s", "b/t"]
    for row_id, path in result.slides.items():
        chosen = [i for i, info in enumerate(infos) if info.row_id == row_id]
        found = read_features(path)
        np.testing.assert_array_equal(found.coords, [infos[i].location_px for i in chosen])
        # Stored latents are of half precision.
        np.testing.assert_allclose(found.features, expected[chosen], atol=3e-3 * np.abs(expected).max())
        assert found.features.std(0).max() > 1e-3 * np.abs(expected).max()
        assert (found.attrs["mpp"], found.attrs["tile_size_px"], found.attrs["tile_size_level0"]) == (0.5, 64, 64.0)
        assert found.attrs["encoder"] == tiny_pretrained.digest()
    features, ids = read_tile_embeddings(result.tiles)
    assert ids == ["t0", "t1", "t2"]
    np.testing.assert_allclose(
        features, expected[[i for i, info in enumerate(infos) if info.row_id[0] == "t"]], atol=0.01
    )


def test_what_cannot_be_used_is_named_and_the_rest_goes_on(tmp_path, cohort, tiny_pretrained):
    result = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    assert set(result.skipped) == {"blank", "broken"}
    assert "no tissue" in result.skipped["blank"]
    assert "skipped 2:\n- broken: " in result.summary() or "skipped 2:\n- blank: " in result.summary()
    assert {path.name for path in (tmp_path / "e").iterdir()} == {
        "t.h5",
        "embeddings.h5",
        *(path.name for row, path in result.slides.items() if row.endswith("/s")),
    }
    assert len(set(result.slides.values())) == 3  # two slides of one name have a file each
    cohort.write_text("image,patient\nblank.tif,p\nbroken.tif,p\n")
    with pytest.raises(InputError, match=r"none of its images(.|\n)*blank"):
        embed_slides(tiny_pretrained, cohort, tmp_path / "f", progress=False)


@pytest.mark.parametrize("batch_tiles", [1, 100])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_and_workers_change_nothing(tmp_path, cohort, tiny_pretrained, batch_tiles, num_workers):
    one = embed_slides(tiny_pretrained, cohort, tmp_path / "one", progress=False)
    other = embed_slides(
        tiny_pretrained, cohort, tmp_path / "two", batch_tiles, num_workers=num_workers, progress=False
    )
    for row_id, path in one.slides.items():
        again = read_features(other.slides[row_id])
        np.testing.assert_allclose(again.features, read_features(path).features, atol=1e-5)
        np.testing.assert_array_equal(again.coords, read_features(path).coords)
    assert other.skipped == one.skipped


def test_images_as_tensors_give_the_same(tmp_path, cohort, tiny_model, tiny_pretrained):
    result = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    pixels = np.stack([np.asarray(Image.open(tmp_path / f"t{number}.png")) for number in range(3)])
    with torch.no_grad():
        found = load_encoder(tiny_model)(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float())
    np.testing.assert_allclose(found.numpy(), read_tile_embeddings(result.tiles)[0], atol=1e-5)


def test_only_what_is_missing_or_changed_is_done_again(tmp_path, cohort, tiny_model, stained, write_tiff):
    encoder = load_encoder(tiny_model)

    def run(**kwargs):
        result = embed_slides(encoder, cohort, tmp_path / "e", progress=False, **kwargs)
        return result, {row_id: path.stat().st_mtime_ns for row_id, path in result.slides.items()}

    first, times = run()
    again, same = run()
    assert (first.kept, again.kept, same) == (0, 4, times)
    assert again.skipped == first.skipped
    first.slides["b/t"].unlink()
    first.slides["a/s"].write_bytes(b"half a file")
    third, mended = run()
    assert third.kept == 2
    assert {row_id for row_id in times if mended[row_id] != times[row_id]} == {"b/t", "a/s"}
    write_tiff(tmp_path / "b" / "t.tif", [stained(192, 128)], compression="zlib")
    assert run()[0].kept == 3
    assert len(read_features(first.slides["b/t"]).features) == 6
    assert run(max_tiles_per_slide=2)[0].kept == 0
    with torch.no_grad():
        encoder.hmgdm.encoder.vertex_in.weight.mul_(1.5)
    assert run(max_tiles_per_slide=2)[0].kept == 0
    Image.fromarray(stained(64, 64)).save(tmp_path / "t1.png")
    assert run(max_tiles_per_slide=2)[0].kept == 3


def test_a_plain_tile_that_has_become_readable_is_taken_in(tmp_path, cohort, tiny_pretrained, stained):
    (tmp_path / "t1.png").write_bytes(b"no image")
    first = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    assert read_tile_embeddings(first.tiles)[1] == ["t0", "t2"]
    assert "t1" in first.skipped
    again = embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False)
    assert again.kept == 4
    assert "t1" in again.skipped
    Image.fromarray(stained(64, 64)).save(tmp_path / "t1.png")
    assert read_tile_embeddings(embed_slides(tiny_pretrained, cohort, tmp_path / "e", progress=False).tiles)[1] == [
        "t0",
        "t1",
        "t2",
    ]


def _embed_slowly(model, cohort, folder):
    tqdm.set_lock(threading.RLock())  # killed, the process would take the lock that it shares with its parent along
    encoder = load_encoder(model)
    forward = type(encoder).forward

    def slow(self, graphs):
        time.sleep(0.15)
        return forward(self, graphs)

    type(encoder).forward = slow
    recipe = recipe_of(encoder.run_settings)
    CohortEmbedding(encoder, recipe, cohort, folder, batch_tiles=1, progress=False).run()


def test_a_killed_run_leaves_whole_files_and_is_taken_up(tmp_path, cohort, tiny_model, tiny_pretrained):
    folder = tmp_path / "e"
    process = multiprocessing.get_context("fork").Process(target=_embed_slowly, args=(tiny_model, cohort, folder))
    process.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(folder.glob("*.h5"))) < 2:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    left = {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    assert 2 <= len(left) < 4
    result = embed_slides(tiny_pretrained, cohort, folder, progress=False)
    assert result.kept == len(left)
    assert all(path.stat().st_mtime_ns == when for path, when in left.items())
    whole = embed_slides(tiny_pretrained, cohort, tmp_path / "f", progress=False)
    for row_id, path in whole.slides.items():
        again = read_features(result.slides[row_id]).features
        np.testing.assert_allclose(again, read_features(path).features, atol=1e-5)


def test_a_slide_damaged_half_way_leaves_nothing(tmp_path, cohort, tiny_pretrained, monkeypatch):
    stream = embed_module.stream_slide

    def breaks(row, *args):
        for number, batch in enumerate(stream(row, *args)):
            if number == 1 and row.id == "b/t":
                raise InputError(f"{row.image}: cannot decode it")
            yield batch

    monkeypatch.setattr(embed_module, "stream_slide", breaks)
    result = embed_slides(tiny_pretrained, cohort, tmp_path / "e", batch_tiles=4, progress=False)
    assert result.skipped["b/t"] == "cannot decode it"
    assert sorted(result.slides) == ["a/s", "b/s"]
    assert not (tmp_path / "e" / "t.h5").exists()


def test_settings_that_are_missing_or_out_of_range(tmp_path, cohort, tiny_pretrained):
    with pytest.raises(InputError, match="batch_tiles"):
        embed_slides(tiny_pretrained, cohort, tmp_path, batch_tiles=0)
    with pytest.raises(InputError, match="tile_spec"):
        recipe_of({"recipe": {"transforms": tiny_pretrained.run_settings["recipe"]["transforms"]}})


def _peak_mb(model, cohort, folder, most, queue):
    torch.set_num_threads(1)
    embed_slides(load_encoder(model), cohort, folder, max_tiles_per_slide=most, progress=False)
    # Not getrusage: its peak counts what the parent had taken before this process was started.
    lines = Path("/proc/self/status").read_text().splitlines()
    queue.put(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path, tiny_model, stained, write_tiff):
    """1,600 tiles take as much as 64; their pixels and label maps alone would take 45 MB more."""
    write_tiff(tmp_path / "s.tif", [stained(64 * 40, 64 * 40)], compression="zlib")
    (tmp_path / "c.csv").write_text("image,patient\ns.tif,p\n")
    context, peaks = multiprocessing.get_context("spawn"), []
    for most, count in ((64, 64), (None, 1600)):
        folder, queue = tmp_path / str(most), context.Queue()
        process = context.Process(target=_peak_mb, args=(tiny_model, tmp_path / "c.csv", folder, most, queue))
        process.start()
        peaks.append(queue.get(timeout=300))
        process.join()
        with h5py.File(folder / "s.h5") as file:
            assert len(file["features"]) == count
    assert peaks[1] - peaks[0] < 20, peaks
