"""The page answers itself, and no other site that is open in the same browser."""

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from uamp_cli.page.server import page_at
from uamp_cli.page.settings import PageSettings

pytest.importorskip("gradio", reason="the page needs uamp-cli[ui]")
from uamp_cli.page.own_address import REFUSAL, OwnAddressOnly

# Gradio asks pandas for what newer pandas does by itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated and will be removed"),
]

UPLOAD = b'--part\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhello\r\n--part--\r\n'
FOREIGN_HOSTS = ["evil.com", "evil.com:{port}", "127.0.0.1.evil.com:{port}", "localhost:x", ""]
FOREIGN_ORIGINS = [
    "http://evil.com",
    "http://evil.com:{port}",
    "https://127.0.0.1:{port}",
    "http://localhost:1",
    "http://localhost:3000",
    "null",
]
PATHS = ("/", "/config", "/gradio_api/queue/data?session_hash=a", "/gradio_api/heartbeat/a", "/missing")
OWN_NAMES = ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "localhost:8000", "localhost"]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: tuple[str, ...]

    @property
    def is_refusal(self) -> bool:
        """Whether it is one, which no other site may read either."""
        allows = [name for name in self.headers if name.lower().startswith("access-control-")]
        return (self.status, self.body.decode(), allows) == (403, REFUSAL, [])


class Client:
    """Asks the page, in any name. A `{port}` in a header is the page's port."""

    def __init__(self, address: str) -> None:
        self._port = urlsplit(address).port
        config = json.loads(self.get("/config").body)
        undo = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "uamp-undo")
        self._undo = next(one["id"] for one in config["dependencies"] if one["targets"] == [[undo, "click"]])

    def ask(self, method: str, path: str, body: bytes | None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            named = {name.replace("_", "-"): value.format(port=self._port) for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.read(), tuple(response.headers))
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def predict(self, **headers: str) -> Answer:
        """Press *Undo click*; the answer holds the page's picture, if there is one."""
        body = json.dumps({"data": ["a tab"], "fn_index": self._undo, "session_hash": "a visit"}).encode()
        return self.ask("POST", "/gradio_api/run/predict", body, content_type="application/json", **headers)

    def upload(self, **headers: str) -> Answer:
        kind = "multipart/form-data; boundary=part"
        return self.ask("POST", "/gradio_api/upload", UPLOAD, content_type=kind, **headers)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with ExitStack() as stack:

        async def start() -> str:
            return stack.enter_context(page_at(PageSettings(device="cpu", port=0)))

        # where no event loop runs, Gradio makes some that it never closes
        yield Client(asyncio.run(start()))


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    for path in PATHS:
        assert client.get(path, host=host).is_refusal, path
    assert client.predict(host=host, origin=f"http://{host}").is_refusal
    assert client.upload(host=host).is_refusal


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_foreign_origin_may_not_ask_for_anything(client: Client, origin: str) -> None:
    for path in PATHS:
        assert client.get(path, origin=origin).is_refusal, path
        assert client.ask("HEAD", path, None, origin=origin).status == 403, path
        for method in ("GET", "POST"):
            asked = client.ask("OPTIONS", path, None, origin=origin, access_control_request_method=method)
            assert asked.is_refusal, (method, path)
    assert client.predict(origin=origin).is_refusal
    assert client.upload(origin=origin).is_refusal
    assert client.ask("DELETE", "/", None, origin=origin).is_refusal


@pytest.mark.parametrize("name", OWN_NAMES)
def test_the_page_itself_is_answered(client: Client, name: str) -> None:
    for headers in ({"host": name}, {"host": name, "origin": f"http://{name}"}):
        assert b'"title":"UAMP"' in client.get("/", **headers).body
        pressed, uploaded = client.predict(**headers), client.upload(**headers)
        assert pressed.status == uploaded.status == 200
        assert "There is no click" in pressed.body.decode()
        assert json.loads(uploaded.body)[0].endswith("a.txt")


def statuses_of_websocket(host: str, origin: str) -> list[int]:
    """With what a websocket is refused; with nothing if it is not."""
    sent: list[Any] = []

    async def app(*_: object) -> None:
        pass

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "headers": [(b"host", host.encode()), (b"origin", origin.encode())],
        "extensions": {"websocket.http.response": {}},
    }
    asyncio.run(OwnAddressOnly(app)(scope, receive, send))
    return [message["status"] for message in sent if message["type"] == "websocket.http.response.start"]


def test_websockets_are_no_way_around() -> None:
    assert statuses_of_websocket("evil.com", "http://evil.com") == [403]
    assert statuses_of_websocket("localhost:7860", "http://evil.com") == [403]
    assert statuses_of_websocket("localhost:7860", "http://localhost:7860") == []
