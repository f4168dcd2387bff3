"""The real server in its own environment, asked over HTTP as a client asks it.

bash scripts/monailabel_app/environment.sh && python -m pytest tests/monailabel -m slow
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from hmgdm_monai.data.slides.slide import open_slide
from hmgdm_monai.data.tiles.tiling import tile_locations
from hmgdm_monai.preparation.recipe import recipe_of
from hmgdm_monai.saving.classifier_file import load_classifier

CLASSES = ["dark", "light & pale"]
WHOLE = {"wsi": json.dumps({"location": [0, 0], "size": [0, 0]})}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory, write_bundle, write_tiff, tissue, running, copied_app) -> Iterator[SimpleNamespace]:
    """A server with a graph model "tiny" and a transformer "vit", both untrained, and images.

    Eight tiles are dark and pale by turns, a slide is dark on its left and pale on its right, and one image is broken.
    """
    folder = tmp_path_factory.mktemp("site")
    app, studies = copied_app(folder / "app"), folder / "studies"
    bundle = write_bundle(app / "model" / "tiny")
    write_bundle(app / "model" / "vit", kind="vit")
    studies.mkdir()
    for number in range(8):
        tile = tissue(64 + 8 * number, 64, number % 2 == 1)[:, -64:]
        Image.fromarray(tile).save(studies / f"tile_{number}.png")
    # 0.25 um a px: a tile of the model, 64 px at 0.5 um, is 128 level-0 px.
    pixels = np.full((768, 1280, 3), 245, np.uint8)
    pixels[256:512, 128:640] = tissue(512, 256, False)
    pixels[256:512, 640:1152] = tissue(512, 256, True)
    write_tiff(studies / "slide.tif", [pixels, pixels[::4, ::4]], mpp=0.25, compression="zlib")
    (studies / "broken.png").write_bytes(b"no image")
    more = folder / "more"
    more.mkdir()
    with running(app, studies, "--conf", "image_folders", str(more)) as server:
        yield SimpleNamespace(server=server, app=app, studies=studies, bundle=bundle, more=more)


def ask(site, path: str, method: str = "post", status: int = 200, **more) -> requests.Response:
    answer = requests.request(method, site.server.url + path, timeout=300, **more)
    assert answer.status_code == status, (path, answer.status_code, answer.text[:500])
    return answer


def refused(site, path: str, status: int, line: str, method: str = "post", **more) -> None:
    """The answer is one line with that in it, and the server goes on."""
    detail = ask(site, path, method, status, **more).json()["detail"]
    assert line in detail and "\n" not in detail
    assert site.server.alive()


def label(site, image: str, content: object) -> requests.Response:
    files = {"label": ("label.json", json.dumps(content))}
    return ask(site, f"/datastore/label?image={image}", "put", files=files)


def by_hand(site, path: Path, locations: np.ndarray, model: Path) -> np.ndarray:
    """Probabilities of tiles as this environment computes them."""
    classifier = load_classifier(model)
    spec = recipe_of(classifier.run_settings).tile_spec
    with closing(open_slide(path)) as slide, torch.inference_mode():
        tiles = slide.read_regions(locations, spec.size_px, spec.mpp).transpose(0, 3, 1, 2)
        return np.concatenate(
            [
                classifier.network(torch.tensor(part)).softmax(1).numpy()
                for part in np.array_split(tiles, 1 + len(tiles) // 64)
            ]
        )


def test_info_names_model_classes_strategies_and_images(site):
    info = ask(site, "/info/", "get").json()
    assert info["labels"] == CLASSES
    model = info["models"]["tiny"]
    assert (model["type"], model["pathology"], model["version"]) == ("classification", True, "0.0.1")
    assert (model["tile_size_px"], model["tile_mpp"], model["trained_here"]) == (64, 0.5, False)
    assert "tiny" in info["trainers"] and "most_uncertain" in info["strategies"]
    assert info["datastore"]["total"] == 10 and info["datastore"]["completed"] == 0


def test_a_tile_is_classified_as_it_is_in_our_own_environment(site):
    path = site.studies / "tile_3.png"
    expected = by_hand(site, path, np.zeros((1, 2)), site.bundle / "models" / "classifier.pt")[0]
    answers = [ask(site, "/infer/tiny?image=tile_3").json()]
    with path.open("rb") as upload:
        answers.append(ask(site, "/infer/tiny", files={"file": ("a.png", upload)}).json())
    for answer in answers:
        assert [part["label"] for part in answer["prediction"]] == CLASSES
        np.testing.assert_allclose([part["score"] for part in answer["prediction"]], expected, atol=1e-4)
        assert answer["label"] == CLASSES[expected.argmax()]


def test_tiles_are_classified_in_a_batch(site):
    images = ["tile_1", "tile_2"]
    answer = ask(site, "/batch/infer/tiny?run_sync=true", json={"images": images}).json()
    for image in images:
        assert answer[image]["params"]["prediction"] == ask(site, f"/infer/tiny?image={image}").json()["prediction"]


def test_a_region_of_a_slide_has_the_mean_of_its_tiles(site):
    params = {"params": json.dumps({"location": [200, 260], "size": [256, 128]})}
    answer = ask(site, "/infer/tiny?image=slide", data=params).json()
    assert [tile["location"] for tile in answer["tiles"]] == [[200, 260], [328, 260]]
    locations = np.array([[200, 260], [328, 260]])
    expected = by_hand(site, site.studies / "slide.tif", locations, site.bundle / "models" / "classifier.pt")
    np.testing.assert_allclose([part["score"] for part in answer["prediction"]], expected.mean(0), atol=1e-4)


def squares(points: np.ndarray) -> set[tuple[float, ...]]:
    """Left, top, right, bottom of each contour (N, 4, 2), which must be a rectangle."""
    boxes = np.concatenate((points.min(1), points.max(1)), 1)
    left, top, right, bottom = boxes.T
    corners = np.stack([left, top, right, top, right, bottom, left, bottom], 1).reshape(-1, 4, 2)
    np.testing.assert_array_equal(points, corners)
    return set(map(tuple, boxes))


def test_a_slides_tiles_come_as_json_dsa_and_asap_in_level_0_pixels(site):
    # The tissue is 8 x 2 tiles, its corner at (128, 256).
    expected = {(x, y, x + 128, y + 128) for x in range(128, 1152, 128) for y in (256, 384)}
    answer = ask(site, "/infer/wsi_v2/tiny?image=slide&output=json", data=WHOLE).json()
    assert {(*tile["location"], *np.add(tile["location"], tile["size"])) for tile in answer["tiles"]} == expected
    locations = np.array([tile["location"] for tile in answer["tiles"]])
    scores = [[tile["scores"][name] for name in CLASSES] for tile in answer["tiles"]]
    model = site.bundle / "models" / "classifier.pt"
    np.testing.assert_allclose(scores, by_hand(site, site.studies / "slide.tif", locations, model), atol=1e-4)
    elements = answer["annotations"][0]["annotation"]["elements"]
    assert squares(np.array([c for element in elements for c in element["contours"]])) == expected
    assert all(tile["label"] == max(tile["scores"], key=tile["scores"].get) for tile in answer["tiles"])
    wanted = {name: sum(tile["label"] == name for tile in answer["tiles"]) for name in CLASSES}

    dsa = ask(site, "/infer/wsi_v2/tiny?image=slide&output=dsa", data=WHOLE)
    assert dsa.headers["content-type"] == "application/json"
    shapes = dsa.json()["elements"]
    assert all(shape["type"] == "polyline" and shape["closed"] for shape in shapes)
    assert squares(np.array([shape["points"] for shape in shapes])[..., :2]) == expected
    assert {name: sum(s["label"]["value"] == name for s in shapes) for name in CLASSES} == wanted

    asap = ElementTree.fromstring(ask(site, "/infer/wsi_v2/tiny?image=slide&output=asap", data=WHOLE).content)
    found = asap.findall("./Annotations/Annotation")
    points = [[[float(c.get("X")), float(c.get("Y"))] for c in a.findall("./Coordinates/Coordinate")] for a in found]
    assert squares(np.array(points)) == expected
    assert {name: sum(a.get("Name") == name for a in found) for name in CLASSES} == wanted


def test_a_region_of_a_slide_gives_the_tiles_whose_center_is_in_it(site):
    def tiles(location, size) -> list:
        wsi = {"wsi": json.dumps({"location": location, "size": size})}
        return ask(site, "/infer/wsi_v2/tiny?image=slide&output=json", data=wsi).json()["tiles"]

    assert [tile["location"] for tile in tiles([150, 300], [280, 100])] == [[128, 256], [256, 256]]
    assert tiles([0, 0], [100, 100]) == []  # glass


def test_the_cmu_slide_is_tiled_as_our_own_environment_tiles_it(site, real_data):
    path = Path(shutil.copy(real_data / "slides" / "CMU-1-Small-Region.svs", site.more))
    answer = ask(site, f"/infer/wsi_v2/tiny?image={path}&output=json", data=WHOLE).json()
    spec = recipe_of(load_classifier(site.bundle / "models" / "classifier.pt").run_settings).tile_spec
    with closing(open_slide(path)) as slide:
        locations, side = tile_locations(slide, spec), spec.size_px * slide.downsample_at(spec.mpp)
    assert [tile["location"] for tile in answer["tiles"]] == locations.tolist()
    assert answer["tiles"][0]["size"] == pytest.approx([side, side], abs=1e-3)
    scores = np.array([[tile["scores"][name] for name in CLASSES] for tile in answer["tiles"]])
    expected = by_hand(site, path, locations, site.bundle / "models" / "classifier.pt")
    # Another library decodes the JPEG here, so a superpixel's border may move by a pixel.
    assert np.abs(scores - expected).mean() < 5e-3
    shapes = ask(site, f"/infer/wsi_v2/tiny?image={path}&output=dsa", data=WHOLE).json()["elements"]
    assert len(shapes) == len(locations)


def test_labels_and_training_change_the_next_answer(site):
    """Next sample, labels, training in the server and in a process of its own, answers before and after."""
    margin = {"model": "vit", "measure": "margin"}
    first = ask(site, "/activelearning/most_uncertain", json=margin).json()
    assert {"id", "path", "uncertainty", "location", "scores"} <= set(first)
    # Of all tiles it is the one whose classes are nearest to each other.
    names = [f"tile_{number}" for number in range(8)]
    scores = {name: ask(site, f"/infer/vit?image={name}").json()["prediction"] for name in names}
    slide = ask(site, "/infer/wsi_v2/vit?image=slide&output=json", data=WHOLE).json()["tiles"]
    gaps = {name: abs(parts[0]["score"] - parts[1]["score"]) for name, parts in scores.items()}
    gaps["slide"] = min(abs(tile["scores"][CLASSES[0]] - tile["scores"][CLASSES[1]]) for tile in slide)
    assert first["id"] == min(gaps, key=gaps.get)
    assert first["uncertainty"] == pytest.approx(1 - gaps[first["id"]], abs=1e-4)
    second = ask(site, "/activelearning/most_uncertain", json={**margin, "skip": [first["id"]]}).json()
    assert second["id"] == sorted(gaps, key=gaps.get)[1]

    refused(site, "/train/vit?run_sync=true", 422, "there is no label to train from")
    for number in range(6):
        assert label(site, names[number], {"label": CLASSES[number % 2]}).json()["image"] == names[number]
    assert ask(site, "/datastore/", "get").json()["completed"] == 6
    left = ask(site, "/activelearning/most_uncertain").json()
    assert left["id"] not in names[:6]
    corners = [([128, 256], 0), ([256, 256], 0), ([384, 256], 0), ([640, 256], 1), ([768, 256], 1), ([896, 256], 1)]
    label(site, "slide", {"tiles": [{"location": corner, "label": CLASSES[index]} for corner, index in corners]})

    stats = ask(site, "/train/vit?run_sync=true").json()
    assert stats["labels"] == {"dark": 6, "light & pale": 6} and stats["skipped"] == {}
    assert stats["agreement_after"] == 1 > stats["agreement_before"]
    # Tiles that had no label: both plain ones, and the lower row of the slide, dark left of x = 640.
    for number in (6, 7):
        answer = ask(site, f"/infer/vit?image=tile_{number}").json()
        assert answer["label"] == CLASSES[number % 2] and answer["model_file"] == Path(stats["path"]).name
    tiles = ask(site, "/infer/wsi_v2/vit?image=slide&output=json", data=WHOLE).json()["tiles"]
    lower = {tile["location"][0]: tile["label"] for tile in tiles if tile["location"][1] == 384}
    assert lower == {x: CLASSES[int(x >= 640)] for x in range(128, 1152, 128)}
    assert not ask(site, "/info/", "get").json()["models"]["tiny"]["trained_here"]

    # In a process of its own, which is how clients ask; the weakest labels leave the packaged model as it was.
    assert ask(site, "/train/vit", json={"strength": 1e-9}).json()["status"] in ("SUBMITTED", "RUNNING")
    for _ in range(120):
        task = ask(site, "/train/", "get").json()
        if task["status"] not in ("SUBMITTED", "RUNNING"):
            break
        time.sleep(1)
    assert task["status"] == "DONE", task
    again = ask(site, "/infer/vit?image=tile_6").json()["prediction"]
    np.testing.assert_allclose([p["score"] for p in again], [p["score"] for p in scores["tile_6"]], atol=1e-4)
    info = ask(site, "/info/", "get").json()
    assert info["models"]["vit"]["trained_here"] and info["train_stats"]["vit"]["images"] == 7


def test_what_the_clients_of_qupath_and_dsa_ask(site):
    """As the extension of QuPath and the plugin of DSA put it: other routes, other words for the same."""
    whole = ask(site, "/infer/wsi_v2/vit?image=slide&output=json", data=WHOLE).json()["tiles"]
    body = {"level": 0, "location": [0, 0], "size": [0, 0], "tile_size": [1024, 1024], "min_poly_area": 30}
    body["params"] = {"foreground": [], "background": [], "max_workers": 1}
    asap = ElementTree.fromstring(ask(site, "/infer/wsi/vit?output=asap&image=slide", json=body).content)
    assert len(asap.findall("./Annotations/Annotation")) == len(whole)
    body |= {"location": [-1, -1], "size": [-1, -1], "params": {"wsi_tiles": []}}
    assert len(ask(site, "/infer/wsi/vit?output=dsa&image=slide", json=body).json()["elements"]) == len(whole)

    # QuPath labels a slide by polygons, and asks for the next tile of the slide it shows.
    for annotation, corner in zip(asap.findall("./Annotations/Annotation"), range(8), strict=False):
        annotation.set("Name", CLASSES[corner % 2])
    kept = asap.findall("./Annotations/Annotation")[:8]
    for annotation in asap.findall("./Annotations/Annotation")[8:]:
        asap.find("./Annotations").remove(annotation)
    files = {"label": ("slide123.xml", ElementTree.tostring(asap))}
    ask(site, "/datastore/label?image=slide", "put", files=files)
    labeled = {(float(a[0][0].get("X")), float(a[0][0].get("Y"))) for a in kept}
    params = {"model": "vit", "image": "slide", "patch_size": [1024, 1024], "image_size": [1280, 768]}
    sample = ask(site, "/activelearning/most_uncertain", json=params).json()
    assert sample["id"] == "slide" and sample["bbox"] == [*sample["location"], 128, 128]
    assert tuple(sample["location"]) not in labeled
    stats = ask(site, "/train/vit?run_sync=true").json()
    others = ask(site, "/datastore/", "get").json()["completed"] - 1  # plain tiles, where the test before has run
    assert sum(stats["labels"].values()) == others + 8 and stats["skipped"] == {}


def test_bad_input_is_answered_by_one_line(site):
    refused(site, "/infer/nothing?image=tile_0", 404, "there is no model 'nothing'; there are: tiny, vit")
    refused(site, "/infer/wsi_v2/nothing?image=slide", 404, "there is no model 'nothing'", data=WHOLE)
    refused(site, "/train/nothing", 404, "there is no model 'nothing'")
    refused(site, "/train/nothing?run_sync=true", 404, "there is no model 'nothing'")
    refused(site, "/batch/infer/nothing?run_sync=true", 404, "there is no model 'nothing'")
    refused(site, "/scoring/nothing?run_sync=true", 404, "no such scoring method 'nothing'")
    refused(site, "/activelearning/nothing", 404, "no such strategy 'nothing'")
    refused(site, "/activelearning/most_uncertain", 422, "there is no model 'nothing'", json={"model": "nothing"})
    refused(site, "/infer/tiny?image=nothing", 404, "there is no image 'nothing'")
    refused(site, "/infer/tiny?image=broken", 422, "broken.png: not readable as a slide or image")
    refused(site, "/infer/wsi_v2/tiny?image=broken&output=dsa", 422, "broken.png: not readable", data=WHOLE)
    refused(site, "/infer/tiny?image=slide", 422, "is larger than a tile (1280 x 768 px)")
    params = {"params": json.dumps({"location": [5000, 0]})}
    refused(site, "/infer/tiny?image=slide", 422, "lies outside of the image", data=params)
    for content, line in (
        ('{"label": "red"}', "label of tile_7: 'red' is no class of the model; choose one of dark, light & pale"),
        ("dark", "label of tile_7: is no JSON"),
        ("", "label of tile_7: is no JSON"),
    ):
        files = {"label": ("label.json", content)}
        refused(site, "/datastore/label?image=tile_7", 422, line, "put", files=files)
    files = {"label": ("label.json", '{"label": "dark"}')}
    refused(site, "/datastore/label?image=nothing", 404, "there is no image 'nothing'", "put", files=files)
    assert not (site.studies / "labels" / "final" / "tile_7.json").exists()


def test_a_server_without_its_model_starts_and_says_what_is_missing(
    tmp_path, write_bundle, tissue, running, copied_app
):
    """Then the bundle is put in its place, under a name of the command line, and the same server classifies."""
    app, studies, bundle = copied_app(tmp_path / "app"), tmp_path / "studies", tmp_path / "elsewhere" / "mine"
    studies.mkdir()
    Image.fromarray(tissue(64, 64, False)).save(studies / "tile.png")
    with running(app, studies, "--conf", "bundle", str(bundle)) as server:
        site = SimpleNamespace(server=server)
        info = ask(site, "/info/", "get").json()
        assert "classifier.pt is missing" in info["models"]["mine"]["error"]
        line = "classifier.pt is missing; put the packaged bundle there"
        refused(site, "/infer/mine?image=tile", 422, line)
        refused(site, "/infer/wsi_v2/mine?image=tile", 422, line, data=WHOLE)
        refused(site, "/activelearning/most_uncertain", 422, line)
        refused(site, "/train/mine?run_sync=true", 422, line)
        assert ask(site, "/train/mine").json()["status"] in ("SUBMITTED", "RUNNING")
        for _ in range(120):
            task = ask(site, "/train/", "get").json()
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                break
            time.sleep(1)
        assert task["status"] == "ERROR" and line in task["details"][-1] and task["details"][-1].startswith("error: ")
        write_bundle(bundle)
        assert ask(site, "/infer/mine?image=tile").json()["label"] in CLASSES
        weights = (bundle / "models" / "classifier.pt").read_bytes()
        (bundle / "models" / "classifier.pt").write_bytes(weights[:1000])
        refused(site, "/infer/mine?image=tile", 422, "classifier.pt")
