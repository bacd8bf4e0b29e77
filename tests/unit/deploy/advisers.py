"""An advisory service on this machine: answers as https://google.github.io/osv.dev/post-v1-querybatch/ says."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass
class Adviser:
    """What it knows, and what it was asked."""

    advisories: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])
    """By id."""
    about: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Ids by package."""
    page_size: int = 100
    status: int = 200
    forgets: int = 0
    """Answers that are left out of each batch."""
    asked: list[list[dict[str, Any]]] = field(default_factory=list[list[dict[str, Any]]])
    url: str = ""

    def batch(self, queries: list[dict[str, Any]]) -> dict[str, object]:
        """Answer in the order of the questions; no advisory: an empty object."""
        self.asked.append(queries)
        results = [self._result(query) for query in queries]
        return {"results": results[: len(results) - self.forgets]}

    def _result(self, query: dict[str, Any]) -> dict[str, object]:
        assert query["package"]["ecosystem"] == "PyPI"
        begin = int(query.get("page_token", "0"))
        ids = self.about.get(query["package"]["name"], ())
        if not ids:
            return {}
        end = begin + self.page_size
        more = {"next_page_token": str(end)} if end < len(ids) else {}
        return {"vulns": [{"id": one, "modified": "2026-11-01T00:00:00Z"} for one in ids[begin:end]], **more}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
        self._answer(_adviser(self).batch(queries) if self.path == "/v1/querybatch" else None)

    def do_GET(self) -> None:
        self._answer(_adviser(self).advisories.get(self.path.removeprefix("/v1/vulns/")))

    def _answer(self, said: Mapping[str, object] | None) -> None:
        body = json.dumps(said or {"code": 5, "message": "Bug not found."}).encode()
        self.send_response(404 if said is None else _adviser(self).status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
        del format, args


class _Server(ThreadingHTTPServer):
    adviser: Adviser
    daemon_threads = True


def _adviser(handler: BaseHTTPRequestHandler) -> Adviser:
    return cast("_Server", handler.server).adviser


@contextmanager
def advising(adviser: Adviser) -> Generator[Adviser]:
    """Have it answer."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.adviser = adviser
        adviser.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield adviser
        finally:
            server.shutdown()
            thread.join()
