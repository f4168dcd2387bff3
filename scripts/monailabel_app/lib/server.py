"""The server that answers in place of MONAI Label's: its routes, but guarded, checked, and off the event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pydantic
import requests
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, APIRouter
from monailabel.config import settings
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    infer,
    info,
    login,
    logs,
    model,
    scoring,
    train,
    wsi_infer,
)
from monailabel.endpoints.user.auth import get_current_user
from monailabel.interfaces.exception import MONAILabelException
from starlette.exceptions import HTTPException as StarletteHTTPException

from hmgdm_monai.errors import input_error_in
from lib.arguments import checked_arguments
from lib.guard import guards, too_large
from lib.limits import Limits
from lib.login import current_user
from lib.work import BusyError, Work

ROUTERS = (info, infer, wsi_infer, batch_infer, train, activelearning, scoring, datastore, logs, model)
# Routes of these routers that stay closed: they write outside of the studies folder, or copy all slides to the disk.
CLOSED = (("/model/{model}", "PUT"), ("/model/{model}", "DELETE"), ("/datastore/dataset", "GET"), ("/logs/gpu", "GET"))
SLIDES = ("/infer/", "/batch/", "/train/", "/activelearning/")  # whoever works on slides waits for a turn
OTHERS_AT_ONCE = 8


def guarded_server(limits: Limits) -> FastAPI:
    """A server with MONAI Label's routes, every one of them checked.

    Sessions, the proxy to DICOM servers, OHIF and reloading of the app's code are not among them.

    Args:
        limits: settings of the server.
    """
    origins = tuple(str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS)
    server = FastAPI(
        title=settings.MONAI_LABEL_PROJECT_NAME,
        docs_url="/",
        redoc_url="/docs",
        middleware=guards(limits, origins),
        exception_handlers={
            StarletteHTTPException: functools.partial(_refused, limits),
            RequestValidationError: _invalid,
        },
    )
    slides = Work("work on slides", limits.work_seconds, limits.work_at_once, limits.work_waiting)
    others = Work("the request", limits.work_seconds, OTHERS_AT_ONCE, limits.work_waiting)
    if settings.MONAI_LABEL_AUTH_ENABLE:
        server.dependency_overrides[get_current_user] = current_user
        _add(server, login.router, others, others, limits)
    for module in ROUTERS:
        _add(server, module.router, slides, others, limits)
    return server


def _add(server: FastAPI, router: APIRouter, slides: Work, others: Work, limits: Limits) -> None:
    """Put a router's routes into the server, but for the closed ones."""
    for route in router.routes:
        if not isinstance(route, APIRoute) or any((route.path, method) in CLOSED for method in route.methods):
            continue
        on_slides = route.path.startswith(SLIDES) and "POST" in route.methods
        server.add_api_route(
            settings.MONAI_LABEL_API_STR + route.path,
            _checked(route.path, route.endpoint, slides if on_slides else others, others, limits),
            methods=sorted(route.methods),
            response_model=route.response_model,
            summary=route.summary,
            tags=route.tags,
            deprecated=route.deprecated,
            include_in_schema=route.include_in_schema,
            operation_id=f"{route.name}_{'_'.join(sorted(route.methods))}_{len(route.path)}",
        )


def _checked(
    path: str, endpoint: Callable[..., Any], work: Work, others: Work, limits: Limits
) -> Callable[..., Awaitable[Any]]:
    """A function of the same arguments that checks them and then calls MONAI Label's in a thread.

    MONAI Label's functions are declared ``async`` but wait for nothing, so each of them would hold the event loop.
    What they only start, in a process of its own (``run_sync`` false), needs no turn to work on slides.
    """

    @functools.wraps(endpoint)
    async def checked(**values: Any) -> Any:
        try:
            with _answered():
                arguments = checked_arguments(path, values, limits)
                here = work if values.get("run_sync", True) else others
                return await here.run(lambda: asyncio.run(endpoint(**arguments)))
        except BaseException:
            # FastAPI leaves out what was to be done after the answer: the removal of uploads.
            if values.get("background_tasks") is not None:
                await values["background_tasks"]()
            raise

    return checked


@contextmanager
def _answered() -> Iterator[None]:
    """Bad input as an answer of one line in place of "Internal Server Error"."""
    try:
        yield
    except BusyError as error:
        raise HTTPException(429, str(error)) from error
    except MONAILabelException as error:
        raise HTTPException(404, error.msg) from error
    except requests.HTTPError as error:
        raise HTTPException(401, "the realm refuses this user name or password; give others") from error
    except requests.RequestException as error:
        line = f"the login server {settings.MONAI_LABEL_AUTH_REALM_URI} does not answer; see that it runs"
        raise HTTPException(503, line) from error
    except pydantic.ValidationError as error:
        raise HTTPException(422, _first(error.errors())) from error
    except HTTPException:
        raise
    except Exception as error:
        found = input_error_in(error)
        if found is None:
            raise
        raise HTTPException(422, str(found)) from error


async def _refused(limits: Limits, _: Request, error: StarletteHTTPException) -> JSONResponse:
    """Every refusal as one line."""
    detail = too_large(limits) if error.status_code == 413 else str(error.detail)
    return JSONResponse({"detail": " ".join(detail.split())}, error.status_code, getattr(error, "headers", None))


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """Arguments that are missing or of another type as one line, where FastAPI gives a list."""
    return JSONResponse({"detail": _first(error.errors())}, 422)


def _first(errors: list[Any]) -> str:
    """The first fault that pydantic found: where it is, and what."""
    where = ".".join(ascii(part).strip("'") for part in errors[0]["loc"])
    return " ".join(f"{where[:200]}: {errors[0]['msg'][:300]}; see / for what the route takes".split())
