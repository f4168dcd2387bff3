"""What tests of attacks share: how a refusal looks, and which files must stay as they are."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import requests

SECONDS = 20  # work_seconds of the server that is attacked
CODE = b"open('owned', 'w').write('owned')\n"


def files_of(site: SimpleNamespace) -> dict[str, str]:
    """Digest of every file but the server's own records: what an attack must leave as it is."""
    return {
        str(path.relative_to(site.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(site.folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "datastore_v2.json") and path.suffix != ".log"
    }


def refused(site, method: str, path: str, line: str = "", **more) -> requests.Response:
    """The answer is a 4xx, and one line of JSON with that in it; HEAD has none."""
    answer = requests.request(method, site.server.url + path, timeout=120, **more)
    assert 400 <= answer.status_code < 500, (method, path, str(more)[:300], answer.status_code, answer.text[:300])
    if method != "HEAD":
        detail = answer.json()["detail"]
        assert isinstance(detail, str) and "\n" not in detail and line in detail, (method, path, detail)
    return answer


def png(site) -> bytes:
    return (site.studies / "tile.png").read_bytes()
