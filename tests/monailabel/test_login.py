"""MONAI Label's authentication, against a realm that is played by the test.

bash scripts/monailabel_app/environment.sh && python -m pytest tests/monailabel/test_login.py -m slow
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from PIL import Image

pytestmark = pytest.mark.slow

ROLES = ("user", "annotator", "reviewer", "admin")


class Realm:
    """As much of Keycloak as MONAI Label asks: a public key, and tokens for one user."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.down = False
        realm = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                told = {"public_key": base64.b64encode(realm.public(serialization.Encoding.DER)).decode()}
                if self.path.endswith("/openid-configuration"):
                    told = {"token_endpoint": f"{realm.url}/token"}
                self.answer(500 if realm.down else 200, told)

            def do_POST(self) -> None:  # noqa: N802
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                right = "password=right" in form
                told = {"access_token": realm.token("user"), "token_type": "bearer"} if right else {"error": "no"}
                self.answer(200 if right else 401, told)

            def answer(self, status: int, content: dict[str, str]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realms/test"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def public(self, encoding: serialization.Encoding) -> bytes:
        return self.key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)

    def token(self, *roles: str, algorithm: str = "RS256", key: rsa.RSAPrivateKey | None = None, **content: Any) -> str:
        """A signed token; None as content leaves that part out."""
        content = {
            "preferred_username": "someone",
            "exp": int(time.time()) + 600,
            "realm_access": {"roles": [f"monailabel-{role}" for role in roles]},
        } | content
        content = {name: value for name, value in content.items() if value is not None}
        text = b".".join(encoded(json.dumps(part).encode()) for part in ({"alg": algorithm, "typ": "JWT"}, content))
        if algorithm == "RS256":
            signature = (key or self.key).sign(text, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "HS256":
            signature = hmac.digest(self.public(serialization.Encoding.PEM).strip(), text, hashlib.sha256)
        else:
            signature = b""
        return (text + b"." + encoded(signature)).decode()


def encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


@pytest.fixture(scope="module")
def site(tmp_path_factory, write_bundle, tissue, running, copied_app) -> Iterator[SimpleNamespace]:
    """A server with authentication, first asked while its realm is down."""
    folder = tmp_path_factory.mktemp("login")
    app, studies, realm = copied_app(folder / "app"), folder / "studies", Realm()
    write_bundle(app / "model" / "tiny")
    studies.mkdir()
    Image.fromarray(tissue(64, 64, False)).save(studies / "tile.png")
    variables = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm.url}
    with running(app, studies, **variables) as server:
        realm.down = True
        site = SimpleNamespace(server=server, realm=realm, studies=studies)
        site.while_down = ask(site, "GET", "/info/", realm.token("user"))
        realm.down = False
        yield site
    realm.server.shutdown()
    realm.server.server_close()


def ask(site: SimpleNamespace, method: str, path: str, token: str | None = None, **more: Any) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.request(method, site.server.url + path, headers=headers, timeout=60, **more)


def line_of(answer: requests.Response) -> str:
    detail = answer.json()["detail"]
    assert isinstance(detail, str) and "\n" not in detail
    return detail


def test_a_realm_that_is_down_is_told(site):
    assert site.while_down.status_code == 503
    assert site.realm.url in line_of(site.while_down) and "see that it runs" in line_of(site.while_down)


def test_without_a_token_every_route_is_refused(site):
    told = ask(site, "GET", "/openapi.json").json()["paths"]
    asked = 0
    for path, methods in told.items():
        for method, about in methods.items():
            if path.startswith("/auth/"):
                continue
            names = [one["name"] for one in about.get("parameters", []) if one["in"] == "query"]
            files = {"file": ("a.png", b"x"), "label": ("a.json", b"{}")} if "multipart" in str(about) else None
            whole = path.replace("{", "").replace("}", "")
            answer = ask(site, method, whole, params=dict.fromkeys(names, "1"), files=files)
            assert answer.status_code == 401, (method, path, answer.status_code, answer.text[:200])
            asked += 1
    assert asked > 20
    assert sorted(path.name for path in site.studies.glob("*.png")) == ["tile.png"]


def test_tokens_that_the_realm_did_not_sign_are_refused(site):
    realm, other = site.realm, rsa.generate_private_key(public_exponent=65537, key_size=2048)
    right = realm.token("admin")
    tokens = {
        "no token": "nothing",
        "no signature": realm.token("admin", algorithm="none"),
        "the public key as a password": realm.token("admin", algorithm="HS256"),
        "another key": realm.token("admin", key=other),
        "expired": realm.token("admin", exp=int(time.time()) - 10),
        "no end": realm.token("admin", exp=None),
        "no name": realm.token("admin", preferred_username=None),
        "changed": right[:-8] + right[-8:][::-1],
        "roles of another": ".".join([right.split(".")[0], realm.token("user").split(".")[1], right.split(".")[2]]),
    }
    for what, token in tokens.items():
        answer = ask(site, "GET", "/info/", token)
        assert answer.status_code == 401 and "log in again" in line_of(answer), what


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/info/", "user"),
        ("POST", "/infer/tiny?image=tile", "user"),
        ("POST", "/activelearning/first", "user"),
        ("PUT", "/datastore/image/info?image=tile", "annotator"),
        ("POST", "/scoring/", "annotator"),
        ("GET", "/logs/", "admin"),
        ("DELETE", "/train/", "admin"),
    ],
)
def test_each_route_needs_its_role(site, method, path, needed):
    for role in ROLES:
        answer = ask(site, method, path, site.realm.token(role))
        assert answer.status_code == (200 if role == needed else 403), (role, answer.text[:200])
    assert ask(site, method, path, site.realm.token(*ROLES)).status_code == 200


@pytest.mark.parametrize("access", [None, {}, {"roles": None}, [], "admin", {"roles": "monailabel-admin"}])
def test_a_token_without_roles_may_do_nothing(site, access):
    answer = ask(site, "GET", "/info/", site.realm.token(realm_access=access))
    assert answer.status_code == 403 and "is required" in line_of(answer)


def test_logging_in_gives_a_token_for_the_right_password_alone(site):
    form = {"username": "someone", "password": "right"}
    token = ask(site, "POST", "/auth/token", data=form).json()["access_token"]
    assert ask(site, "GET", "/info/", token).status_code == 200
    assert ask(site, "GET", "/auth/token/valid", token).json()["username"] == "someone"
    wrong = ask(site, "POST", "/auth/token", data={**form, "password": "wrong"})
    assert wrong.status_code == 401 and "password" in line_of(wrong)
