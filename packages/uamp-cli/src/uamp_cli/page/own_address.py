"""Keeps other sites that are open in the browser away from the page."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

# Starlette comes with Gradio, in the version that Gradio wants.
from starlette.applications import Starlette  # deptry: ignore[DEP003]
from starlette.datastructures import Headers  # deptry: ignore[DEP003]
from starlette.responses import PlainTextResponse  # deptry: ignore[DEP003]
from starlette.types import ASGIApp, Receive, Scope, Send  # deptry: ignore[DEP003]

REFUSAL = "This page answers at its own address only."

_NAMES = ("127.0.0.1", "localhost", "[::1]")


@asynccontextmanager
async def guarded(app: Starlette) -> AsyncIterator[None]:
    """The lifespan of Gradio's app, in which `OwnAddressOnly` is around everything.

    As a middleware that Gradio is given, it would come after Gradio's own, which answers preflights of other local
    sites and lets them read refusals.
    """
    app.middleware_stack = OwnAddressOnly(app.build_middleware_stack())
    yield


class OwnAddressOnly:
    """Answers 403 unless it is the page that asks.

    A site whose name is made to mean this machine (DNS rebinding) is known by the Host it asks for, and any other site
    by its Origin, which is not that Host. Any port is right: it may have been forwarded from another one.
    Starlette's TrustedHostMiddleware does not look at the Origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        """`app` is what answers otherwise."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or none where the server merely starts or ends."""
        if scope["type"] == "lifespan" or _is_from_the_page(scope):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(REFUSAL, status_code=403)(scope, receive, send)


def _is_from_the_page(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if re.sub(r":\d+$", "", host) not in _NAMES:
        return False
    # without an Origin the browser keeps the answer from other sites: they may lead people here, but not read
    return headers.get("origin", f"http://{host}") == f"http://{host}"
