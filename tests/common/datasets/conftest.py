import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.datasets import fetch, sources
from common.datasets.sources import Pin, RawFile, Source


@dataclass
class Site:
    """A web server on this machine, and how often each path was asked for."""

    address: str
    pages: dict[str, tuple[int, bytes, int]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def serve(self, path: str, body: bytes, *, status: int = 200, length: int | None = None):
        """Answer `path` with `body`, stating `length` bytes."""
        self.pages[path] = (status, body, len(body) if length is None else length)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked[self.path] += 1
            status, body, length = site.pages.get(self.path, (404, b"", 0))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSES", (0.0, 0.0))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's machine holds must not change a test."""
    monkeypatch.setenv("DATA_MIRROR", "")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Source]:
    """Put a set of files with the given contents into the registry."""

    def add(name: str, contents: dict[str, bytes], base: str = "http://127.0.0.1:9/") -> Source:
        files = tuple(
            RawFile(
                file,
                Pin(hashlib.sha256(content).hexdigest(), len(content)),
                (base + file,),
                f"{name}/{file}",
            )
            for file, content in contents.items()
        )
        source = Source(name, "files", files=files)
        monkeypatch.setitem(sources.SOURCES, name, source)
        return source

    return add
