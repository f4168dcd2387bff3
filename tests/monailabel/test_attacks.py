"""What a hostile client names, asked of the real server: it is refused in one line, and nothing is written.

bash scripts/monailabel_app/environment.sh && python -m pytest tests/monailabel/test_attacks.py -m slow
"""

from __future__ import annotations

import http.client
import json
from types import SimpleNamespace

import pytest
import requests
from hostile_client import CODE, png, refused

NAMES = (
    "../app/lib/regions",
    "..",
    ".",
    "..\\app\\lib\\regions",
    "labels/final/tile",
    "tile\0",
    "tile\n",
    ".hidden",
    "x" * 300,
    "\u202egnp.elit",
)
FILES = ("a.py", "a.json", "a", "a.png.py", "a.nii.gz", "a.png/../b.py", "../../a.png", "/a.png", "..\\a.png", ".png")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unharmed")]


@pytest.fixture
def site(attacked: SimpleNamespace) -> SimpleNamespace:
    """The server that is attacked."""
    return attacked


def test_code_of_the_app_cannot_be_replaced_and_run(site):
    for path in ("/datastore/", "/datastore/image"):
        for image in ("../app/lib/regions", str(site.app / "lib" / "regions"), "..\\app\\lib\\regions"):
            for name in ("regions.py", "regions.png"):
                refused(site, "PUT", path, "slash", params={"image": image}, files={"file": (name, CODE)})
    refused(site, "PUT", "/datastore/image", "none of the suffixes", files={"file": ("main.py", CODE)})
    refused(site, "POST", "/train/tiny", "bundle_path", json={"bundle_path": str(site.outside)})
    refused(site, "POST", "/train/", "bundle_path", json={"tiny": {"bundle_path": str(site.outside)}})
    refused(site, "POST", "/batch/infer/tiny", "bundle_path", json={"bundle_path": str(site.outside)})
    refused(site, "PUT", "/model/tiny", files={"file": ("classifier.pt", CODE)})
    refused(site, "DELETE", "/model/tiny")
    refused(site, "POST", "/reload")
    assert not list(site.folder.rglob("owned"))


@pytest.mark.parametrize("name", NAMES)
def test_names_that_leave_the_folder_are_refused_by_every_route(site, name):
    image = {"file": ("a.png", png(site))}
    label = {"label": ("a.json", b'{"label": "dark"}')}
    refused(site, "PUT", "/datastore/image", params={"image": name}, files=image)
    refused(site, "PUT", "/datastore/", params={"image": name}, files=image)
    refused(site, "PUT", "/datastore/label", params={"image": name}, files=label)
    refused(site, "PUT", "/datastore/label", params={"image": "tile", "tag": name}, files=label)
    for method in ("GET", "HEAD"):
        refused(site, method, "/datastore/image", params={"image": name})
        key = {"GET": "label", "HEAD": "image"}[method]
        refused(site, method, "/datastore/label", params={key: "tile", "tag": name})
        refused(site, method, "/datastore/label", params={key: name, "tag": "final"})
    for path in ("/datastore/", "/datastore/image", "/datastore/label"):
        refused(site, "DELETE", path, params={"id": name, "tag": "final"})
    refused(site, "DELETE", "/datastore/label", params={"id": "tile", "tag": name})
    for path, key in (("image/info", "image"), ("label/info", "label"), ("updatelabelinfo", "label")):
        parameters = {key: name, "tag": "final"}
        refused(site, "PUT", f"/datastore/{path}", params=parameters, data={"info": "{}", "params": "{}"})
    refused(site, "GET", "/datastore/image/info", params={"image": name})
    refused(site, "POST", "/infer/tiny", params={"image": name})
    refused(site, "POST", "/infer/wsi_v2/tiny", params={"image": name, "output": "json"})
    refused(site, "POST", "/batch/infer/tiny", json={"label_tag": name})
    refused(site, "POST", "/infer/tiny", "session", params={"session_id": name})


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_no_images_are_refused(site, name):
    for path in ("/datastore/", "/datastore/image", "/infer/tiny", "/infer/wsi_v2/tiny"):
        method = "PUT" if "datastore" in path else "POST"
        refused(site, method, path, params={"image": "new"}, files={"file": (name, CODE)})
    name = name.replace(".json", ".png")
    refused(site, "PUT", "/datastore/label", params={"image": "tile"}, files={"label": (name, b"{}")})


def test_what_is_encoded_twice_is_a_name_like_any_other(site):
    """It is decoded once: the rest of the percent signs belongs to the name, in the studies folder."""
    path = "/datastore/image?image=%252e%252e%252fapp"
    answer = requests.put(site.server.url + path, files={"file": ("a.png", png(site))}, timeout=60)
    assert answer.json() == {"image": "%2e%2e%2fapp"}
    written = site.studies / "%2e%2e%2fapp.png"
    assert written.read_bytes() == png(site)
    requests.delete(site.server.url + path.replace("image=", "id="), timeout=60).raise_for_status()
    assert not written.exists()


@pytest.mark.parametrize(
    "path", ["/model/..%2f..%2fmain", "/infer/..%2f..%2fx", "/../../etc/passwd", "/static/../app.py"]
)
def test_paths_of_routes_lead_nowhere_else(site, path):
    for method in ("GET", "POST", "PUT", "DELETE"):
        connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=60)
        connection.request(method, path)  # requests would take the dots out
        answer = connection.getresponse()
        assert 400 <= answer.status < 500 and b"root:" not in answer.read()


def test_images_are_read_from_the_studies_folder_alone(site):
    outside = "lies outside of the studies folder"
    for image in (str(site.outside / "secret.png"), f"{site.studies}/../outside/secret.png", "/etc/passwd"):
        refused(site, "POST", "/infer/tiny", outside, params={"image": image})
        refused(site, "POST", "/infer/wsi_v2/tiny", outside, params={"image": image, "output": "json"})
        refused(site, "POST", "/infer/wsi/tiny", outside, params={"image": image}, json={})
        other = {"params": json.dumps({"image": image})}
        refused(site, "POST", "/infer/tiny", outside, params={"image": "tile"}, data=other)
        wsi = {"wsi": json.dumps({"params": {"image": image}})}
        refused(site, "POST", "/infer/wsi_v2/tiny", outside, params={"image": "tile"}, data=wsi)
    refused(site, "POST", "/infer/tiny", "outside", params={"image": str(site.studies / "link.png")})
    refused(site, "POST", "/infer/tiny", "suffixes", params={"image": str(site.studies / "datastore_v2.json")})
    refused(site, "POST", "/infer/tiny", "is not there", params={"image": str(site.studies / "none.png")})
    inside = requests.post(f"{site.server.url}/infer/tiny?image={site.studies / 'tile.png'}", timeout=60)
    assert inside.json()["label"]


def test_links_lead_nowhere_else(site):
    images = requests.get(f"{site.server.url}/datastore/?output=all", timeout=60).json()["objects"]
    assert set(images) == {"tile", "large"}
    for method in ("GET", "HEAD"):
        refused(site, method, "/datastore/image", params={"image": "link"})
    refused(
        site, "PUT", "/datastore/image", "leads out", params={"image": "through"}, files={"file": ("a.png", png(site))}
    )
    label = {"label": ("a.json", b'{"label": "dark"}')}
    refused(site, "PUT", "/datastore/label", "leads out", params={"image": "tile"}, files=label)
    refused(site, "PUT", "/datastore/label", "leads out", params={"image": "tile", "tag": "linked"}, files=label)
    assert sorted(path.name for path in site.outside.iterdir()) == ["code.py", "secret.png"]
