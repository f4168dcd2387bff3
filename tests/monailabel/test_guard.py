from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from lib.guard import guards
from lib.limits import Limits
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

ORIGIN = "https://viewer.example"


async def _length(request: Request) -> JSONResponse:
    return JSONResponse(len(await request.body()))


def ask(limits: Limits, server: str = "127.0.0.1", body: tuple[bytes, ...] = (b"",), **headers: str) -> tuple[int, Any]:
    """Status and content of an answer, and its headers; the request arrives at the address ``server``."""
    app = Starlette(routes=[Route("/", _length, methods=["POST"])], middleware=guards(limits, (ORIGIN,)))
    raw = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": "127.0.0.1"} | headers).items()
    ]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}
    scope |= {"server": (server, 8000), "client": (server, 5), "scheme": "http", "http_version": "1.1"}
    parts = [
        {"type": "http.request", "body": part, "more_body": number < len(body)} for number, part in enumerate(body, 1)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    anyio.run(app, scope, receive, send)
    text = b"".join(message.get("body", b"") for message in sent).decode()
    assert "\n" not in text
    return sent[0]["status"], json.loads(text) if text[:1] in "{1234567890" else text, dict(sent[0]["headers"])


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1", "/run/app.sock"])
def test_this_machine_may_ask(address):
    assert ask(Limits(), address)[:2] == (200, 0)


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "fe80::1", "2001:db8::1", "::ffff:10.0.0.1", "name"])
def test_the_network_may_ask_only_where_a_host_is_named(address):
    status, answer, _ = ask(Limits(), address)
    assert status == 403 and "start it with --conf hosts NAME" in answer["detail"]
    assert ask(Limits(hosts=("slides.example",)), address, host="slides.example:8000")[0] == 200
    assert ask(Limits(hosts=("slides.example",)), address, host="other.example")[0] == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
def test_names_of_this_machine_are_known(host):
    assert ask(Limits(), host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "", "0.0.0.0"])
def test_other_names_are_refused(host):
    assert ask(Limits(), host=host)[0] == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:1", f"{ORIGIN}.evil", "*"])
def test_pages_of_other_sites_are_refused(origin):
    status, answer, headers = ask(Limits(), origin=origin)
    assert status == 403 and "may not ask this server" in answer["detail"]
    assert b"access-control-allow-origin" not in headers


def test_own_pages_and_named_ones_may_ask():
    assert ask(Limits(), origin="http://127.0.0.1:8000", host="127.0.0.1:8000")[0] == 200
    status, _, headers = ask(Limits(), origin=ORIGIN)
    assert status == 200 and headers[b"access-control-allow-origin"] == ORIGIN.encode()


@pytest.mark.parametrize(("kind", "most"), [("multipart/form-data; boundary=b", 2**20), ("application/json", 2**19)])
def test_bodies_have_a_largest_size(kind, most):
    limits = Limits(upload_mb=1, request_mb=0.5)
    assert ask(limits, body=(b"0" * most,), content_type=kind, content_length=str(most))[:2] == (200, most)
    # Its length is told, is told wrongly, or is not told.
    for length in ({"content_length": str(most + 1)}, {"content_length": "1" + "0" * 30}, {}):
        status, answer, _ = ask(limits, body=(b"0" * most, b"0"), content_type=kind, **length)
        assert status == 413, answer
        assert "too large" in str(answer).lower()
