"""What a hostile client sends, asked of the real server: too much, too deep, too slow, or from another site.

bash scripts/monailabel_app/environment.sh && python -m pytest tests/monailabel/test_attacks_by_content.py -m slow
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests
from hostile_client import SECONDS, png, refused

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unharmed")]


@pytest.fixture
def site(attacked: SimpleNamespace) -> SimpleNamespace:
    """The server that is attacked."""
    return attacked


def test_bodies_that_are_too_large_are_refused(site):
    parameters = {"image": "new"}
    large = {"file": ("a.png", b"0" * 3 * 2**20)}
    answer = refused(site, "PUT", "/datastore/image", "setting upload_mb", params=parameters, files=large)
    assert answer.status_code == 413
    answer = refused(site, "POST", "/train/tiny", "setting request_mb", json={"client_id": "x" * 2**21})
    assert answer.status_code == 413

    def parts(head: bytes) -> Iterator[bytes]:  # without a length
        yield head
        for _ in range(48):
            yield b"0" * 2**16

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    refused(site, "PUT", "/datastore/image", "too large", params=parameters, data=parts(head), headers=kind)
    kind = {"Content-Type": "application/json"}
    refused(site, "POST", "/train/tiny", "too large", data=parts(b'{"client_id": "'), headers=kind)
    label = {"label": ("a.json", b" " * 2**19)}
    refused(site, "PUT", "/datastore/label", "setting label_mb", params={"image": "tile"}, files=label)


def test_json_that_is_none_or_too_deep_is_refused(site):
    deep = '{"a":' * 100 + "1" + "}" * 100
    deeper = "[" * 100_000
    for text in (deep, deeper, "[]", "1", "{", "nothing", '{"mpp": NaN}', '{"x": "\\ud800"}'):
        refused(site, "POST", "/infer/tiny", "params", params={"image": "tile"}, data={"params": text})
        refused(site, "POST", "/infer/wsi_v2/tiny", "wsi", params={"image": "tile"}, data={"wsi": text})
        refused(site, "PUT", "/datastore/image/info", "info", params={"image": "tile"}, data={"info": text})
        kind = {"Content-Type": "application/json"}
        for path in ("/train/tiny", "/batch/infer/tiny", "/activelearning/first", "/infer/wsi/tiny?image=tile"):
            body = f'{{"params": {text}}}' if path.startswith("/infer/wsi/") else text
            if "NaN" not in text:
                refused(site, "POST", path, data=body, headers=kind)
        label = {"label": ("a.json", text)}
        refused(site, "PUT", "/datastore/label", "label", params={"image": "large"}, files=label)
    refused(site, "POST", "/infer/tiny", "nested more than 16", params={"image": "tile"}, data={"params": deep})


def test_an_xml_bomb_is_refused(site):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "0123456789">{entities}]><x>&e9;</x>'
    label = {"label": ("a.xml", bomb)}
    start = time.monotonic()
    refused(site, "PUT", "/datastore/label", "has a document type", params={"image": "large"}, files=label)
    assert time.monotonic() - start < SECONDS / 2


@pytest.mark.parametrize(
    "region",
    [
        {"location": [0, 0], "size": [12_000, 12_000]},
        {"location": [0, 0], "size": [2**30, 2**30]},
        {"location": [0, 0], "size": [10**400, 1]},
        {"location": [-(10**300), 0], "size": [1e300, 1]},
        {"location": "ab", "size": [1, 1]},
        {"location": [[0], [0]]},
        {"mpp": 1e-9},
        {"mpp": 10**400},
        {"mpp": "0.5"},
        {"mpp": True},
    ],
)
def test_regions_that_are_too_large_or_none_are_refused(site, region):
    data = {"params": json.dumps(region)}
    start = time.monotonic()
    refused(site, "POST", "/infer/tiny", params={"image": "large"}, data=data)
    if "mpp" in region or not isinstance(region["location"][0], int) or abs(region["location"][0]) > 2**31:
        region = {"params": region}
        refused(site, "POST", "/infer/wsi_v2/tiny", params={"image": "large"}, data={"wsi": json.dumps(region)})
    assert time.monotonic() - start < SECONDS / 2


def test_parameters_of_the_wrong_type_are_refused(site):
    for name in ("image", "model"):
        for value in ([], {}, 1, None):
            data = {"params": json.dumps({name: value})}
            refused(site, "POST", "/infer/tiny", params={"image": "tile"}, data=data)
    for body in (
        {"skip": "tile"},
        {"skip": [[1]]},
        {"model": []},
        {"strategy": []},
        {"measure": {}},
        {"max_tiles": -1},
    ):
        refused(site, "POST", "/activelearning/most_uncertain", json=body)
    for body in ({"gpus": 1}, {"gpus": "0;id"}, {"max_workers": -1}, {"model": {}}, {"images": [1]}, {"device": 1}):
        refused(site, "POST", "/train/tiny", json=body)
        refused(site, "POST", "/batch/infer/tiny", json=body)
    refused(site, "GET", "/logs/", "lines", params={"lines": 10**30})
    refused(site, "HEAD", "/datastore/image", params={"image": "tile", "check_sum": "CRC:1"})
    for output in ("image", "dicom_seg"):
        refused(site, "POST", "/infer/tiny", "output", params={"image": "tile", "output": output})
    refused(site, "POST", "/infer/tiny", "there is no image")


def test_info_cannot_change_the_next_sample(site):
    for info in ({"strategy": 5}, {"id": "other"}, {"path": "/etc/passwd"}):
        image = {"image": "tile"}
        refused(site, "PUT", "/datastore/image/info", "info of an image", params=image, data={"info": json.dumps(info)})
        files = {"file": ("a.png", png(site))}
        data = {"params": json.dumps(info)}
        refused(site, "PUT", "/datastore/image", "info of an image", params={"image": "new"}, files=files, data=data)
    data = {"info": json.dumps({"strategy": {}, "model": 5})}  # anything else may be kept
    requests.put(f"{site.server.url}/datastore/image/info?image=tile", data=data, timeout=60).raise_for_status()
    answer = requests.post(f"{site.server.url}/activelearning/first", timeout=60)
    assert answer.json()["id"] in ("tile", "large")


def test_a_client_writes_no_line_of_the_log(site):
    line = "[2000-01-01 00:00:00,000] [INFO] a line of the client"
    label = f"{site.server.url}/datastore/label"
    for text in (f'{{"a":\n"{line}"\n}}', f"\n{line}"):
        for value in (text, text.replace("\n", "\r")):
            more = {"data": {"params": value}, "files": {"label": ("a.json", b"{}")}, "timeout": 60}
            requests.put(label, params={"image": "tile", "tag": "final"}, **more)
            requests.put(label, params={"image": value, "tag": value}, **more)
            requests.post(f"{site.server.url}/infer/{value}", params={"image": value}, timeout=60)
    log = site.server.log.read_text() + "".join(path.read_text() for path in site.app.glob("logs/*.log"))
    assert "a line of the client" in log  # as part of the server's own lines
    assert not any(one.lstrip('"').startswith("[2000-01-01") for one in log.splitlines())


def test_routes_that_are_not_needed_are_closed(site):
    for path in ("/proxy/dicom/x", "/ohif/x", "/session/x", "/datastore/dataset", "/logs/gpu", "/static/ohif"):
        refused(site, "GET", path)
    session = {"image": "tile", "session_id": "b5d3c9a0-0000-11ee-8000-000000000000"}
    refused(site, "POST", "/infer/tiny", "keeps no sessions", params=session)
    refused(site, "PUT", "/session/?uncompress=true", files={"files": ("a.tar", b"")})


def test_other_sites_may_not_ask(site):
    evil = {"Origin": "https://evil.example"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", f"http://127.0.0.1:{site.server.port}.evil"):
        refused(site, "POST", "/train/tiny", "may not ask", headers={"Origin": origin})
    assert "access-control-allow-origin" not in refused(site, "GET", "/info/", headers=evil).headers
    refused(site, "OPTIONS", "/train/tiny", headers={**evil, "Access-Control-Request-Method": "POST"})
    own = requests.get(f"{site.server.url}/info/", headers={"Origin": site.server.url}, timeout=60)
    assert own.status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        answer = requests.get(f"{site.server.url}/info/", headers={"Host": host}, timeout=60)
        assert answer.status_code == 400 and "\n" not in answer.text


def test_no_route_breaks_on_strange_values(site):
    """Every route that the server tells of, with every argument strange."""
    routes = requests.get(f"{site.server.url}/openapi.json", timeout=60).json()["paths"]
    assert len(routes) > 15
    for path, methods in routes.items():
        for method, about in methods.items():
            names = [one["name"] for one in about.get("parameters", []) if one["in"] == "query"]
            for value in ("../x", "\0", "x" * 5000, "[]", "-1", "é\u2028"):
                whole = path.replace("{", "").replace("}", "")
                query = dict.fromkeys(names, value)
                for body in ({}, {"data": {"params": value, "wsi": value, "info": value}}, {"json": [value]}):
                    answer = requests.request(method, site.server.url + whole, params=query, timeout=60, **body)
                    assert answer.status_code < 500, (method, whole, value, body, answer.text[:200])
                    assert "\n" not in answer.text or answer.status_code == 200


def test_slow_work_does_not_hold_the_server_and_ends_in_time(site):
    answers = []

    def ask() -> None:
        url = f"{site.server.url}/infer/wsi_v2/tiny?image=large&output=json"
        whole = {"wsi": json.dumps({"location": [0, 0], "size": [0, 0]})}
        answers.append(requests.post(url, data=whole, timeout=120))

    start = time.monotonic()
    slow = threading.Thread(target=ask)
    slow.start()
    asked = 0
    while slow.is_alive():
        before = time.monotonic()
        assert requests.get(f"{site.server.url}/info/", timeout=30).status_code == 200
        assert time.monotonic() - before < SECONDS / 4
        asked += 1
        time.sleep(0.2)
    assert answers[0].status_code == 422 and f"took longer than {SECONDS} s" in answers[0].json()["detail"]
    assert time.monotonic() - start < 1.5 * SECONDS and asked > 10
    # The late work has ended, so the next one gets its turn.
    tile = requests.post(f"{site.server.url}/infer/tiny?image=tile", timeout=60)
    assert tile.status_code == 200 and tile.json()["label"]
