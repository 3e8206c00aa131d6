"""Keeps other sites that are open in the browser away from the page."""

import re

# Starlette comes with Gradio, in the version that Gradio wants.
from starlette.datastructures import Headers  # deptry: ignore[DEP003]
from starlette.responses import PlainTextResponse  # deptry: ignore[DEP003]
from starlette.types import ASGIApp, Receive, Scope, Send  # deptry: ignore[DEP003]

REFUSAL = "This page answers at its own address only."

_NAMES = ("127.0.0.1", "localhost", "[::1]")


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
    # what another site merely gets, the browser keeps from it; a websocket has no method
    only_gets = scope.get("method") in ("GET", "HEAD")
    return only_gets or headers.get("origin", f"http://{host}") == f"http://{host}"
