"""A web server on the loopback that gives one file, with ranges, and drops connections when told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """How the server answers, and what it was asked.

    Attributes:
        content: The file.
        url: Its address.
        ranges: Whether a part may be asked for.
        says_length: Whether the length is told.
        cut_after: Bytes to send before dropping the connection, an entry for each request.
        status: Anything but 200 is answered alone.
        asked: The Range headers that came.
    """

    content: bytes
    url: str = ""
    ranges: bool = True
    says_length: bool = True
    cut_after: list[int] = field(default_factory=list)
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serving(content: bytes, name: str = "file.zip") -> Iterator[FileServer]:
    """Serve until the end of the block."""
    how = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            how.asked.append(wanted)
            if how.status != 200:
                self.send_error(how.status)
                return
            span = re.fullmatch(r"bytes=(\d+)-", wanted or "")
            start, total = int(span[1]) if span and how.ranges else 0, len(how.content)
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if how.says_length:
                self.send_header("Content-Length", str(total - start))
            self.end_headers()
            body = how.content[start:]
            self.wfile.write(body[: how.cut_after.pop(0)] if how.cut_after else body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Keeps the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    how.url = f"http://127.0.0.1:{server.server_port}/share/{name}"
    try:
        yield how
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
