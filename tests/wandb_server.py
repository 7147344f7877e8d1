"""A W&B server that lets runs begin, and can die."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUCKET = {"id": "b", "displayName": "run", "config": "{}", "historyLineCount": 0}
PROJECT = {"id": "p", "name": "project", "entity": {"id": "e", "name": "me"}}
ANSWERS: dict[str, Any] = {
    "Viewer": {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}},
    "UpsertBucket": {"upsertBucket": {"bucket": {**BUCKET, "name": "run", "project": PROJECT}, "inserted": True}},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        name = re.search(r"(?:query|mutation)\s+(\w+)", body)
        answer = {"data": ANSWERS[name[1]]} if name and name[1] in ANSWERS else {"errors": [{"message": "unknown"}]}
        self.server.asked.append(name[1] if name else self.path)  # type: ignore[attr-defined]
        content = json.dumps(answer if "graphql" in self.path else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class WandbServer(ThreadingHTTPServer):
    """Listens on this machine from the beginning on, until ``die``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.alive = True
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self.shutdown()
            self.server_close()
