"""Who may ask the server at all: by the address it is reached at, the page that asks, and the size of the request."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.limits import MEGABYTE, Limits

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


class _Guard:
    """Passes a request on, unless it has a fault."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or refuse it.

        Args:
            scope: ASGI scope of the request.
            receive: ASGI callable that returns the request's body.
            send: ASGI callable that takes the answer.
        """
        line = self.fault(scope) if scope["type"] == "http" else None
        if line is None:
            await self.app(scope, receive, send)
        else:
            await _refuse(403, line, scope, receive, send)

    def fault(self, scope: Scope) -> str | None:
        """Return why an HTTP request is refused; None if it is not.

        Args:
            scope: scope of the request.
        """
        raise NotImplementedError


class LocalOnly(_Guard):
    """Refuses requests that arrive at an address of the network: MONAI Label listens on all unless told otherwise.

    Args:
        app: what to guard.
    """

    def fault(self, scope: Scope) -> str | None:
        """Return the refusal of a request from the network; None for one from this machine.

        Args:
            scope: scope of the request.
        """
        server = scope.get("server")
        if not server or _loopback(server[0]):
            return None
        return (
            f"the server answers this machine alone, but was reached at {server[0]}; start it with --conf hosts "
            "NAME to open it to the network (docs/monailabel.md)"
        )


class KnownOrigins(_Guard):
    """Refuses requests of pages of other sites, which a browser sends in the name of whoever looks at them.

    Args:
        app: what to guard.
        origins: that may ask, besides the server's own pages.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(app)
        self.origins = origins

    def fault(self, scope: Scope) -> str | None:
        """Return the refusal of a request from a page of another site; None for any other.

        Args:
            scope: scope of the request.
        """
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None or origin in self.origins or urlsplit(origin).netloc == headers.get("host"):
            return None
        return (
            f"pages of {ascii(origin)[:80]} may not ask this server; name the origin in MONAI_LABEL_CORS_ORIGINS "
            "if they should"
        )


class BodyLimits:
    """Refuses bodies that are too large: one limit for requests with files, and a lower one for all others.

    Args:
        app: what to guard.
        limits: both.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.limits = limits
        self._files = RequestBodyLimitMiddleware(app, int(limits.upload_mb * MEGABYTE))
        self._others = RequestBodyLimitMiddleware(app, int(limits.request_mb * MEGABYTE))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or refuse it; without a length it is counted as it comes.

        Args:
            scope: ASGI scope of the request.
            receive: ASGI callable that returns the request's body.
            send: ASGI callable that takes the answer.
        """
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        with_files = headers.get("content-type", "").lower().startswith("multipart/form-data")
        counted = self._files if with_files else self._others
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > counted.max_body_size:
            await _refuse(413, too_large(self.limits), scope, receive, send)
            return
        await counted(scope, receive, send)


def too_large(limits: Limits) -> str:
    """The line that refuses a body.

    Args:
        limits: sizes of bodies.
    """
    return (
        f"the request is too large; it may have {limits.upload_mb:g} MB with a file (setting upload_mb) and "
        f"{limits.request_mb:g} MB without (setting request_mb)"
    )


def guards(limits: Limits, origins: tuple[str, ...]) -> list[Middleware]:
    """What stands before every route, the outermost first.

    Args:
        limits: ``hosts`` and sizes.
        origins: of other sites whose pages may ask.
    """
    hosts = [*LOCAL_HOSTS, *limits.hosts]
    stack = [] if limits.hosts else [Middleware(LocalOnly)]
    return [
        *stack,
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(KnownOrigins, origins=origins),
        Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]),
        Middleware(BodyLimits, limits=limits),
    ]


def _loopback(host: str) -> bool:
    """Whether an address is of this machine alone; the path of a local socket is."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.startswith("/")
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def _refuse(status: int, line: str, scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"detail": line}, status)(scope, receive, send)
