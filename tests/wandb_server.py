"""A W&B server that lets runs begin, and can be bad from the beginning on, turn bad, and die."""

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
    "RunResumeStatus": {"model": {"id": "p", "name": "project", "entity": {"id": "e", "name": "me"}, "bucket": None}},
    "UpsertBucket": {"upsertBucket": {"bucket": {**BUCKET, "name": "run", "project": PROJECT}, "inserted": True}},
}


HANGING = 60  # seconds, at most
PAGE = "text/html", b"<html><body>Please log in to this network.</body></html>"
FAULTS = {  # status, type and content of every answer; besides these, a server "hangs"
    "500": (500, *PAGE),
    "401": (401, "application/json", b'{"errors": [{"message": "user is not logged in"}]}'),
    "nobody": (200, "application/json", b'{"data": {"viewer": null}}'),
    "HTML": (200, *PAGE),
    "list": (200, "application/json", b"[]"),
    "elsewhere": (302, *PAGE),
    "runs fail": (500, *PAGE),  # but it knows the account
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        fault = self.server.fault  # type: ignore[attr-defined]
        if fault == "hangs":
            self.server.closing.wait(HANGING)  # type: ignore[attr-defined]
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace")
        name = re.search(r"(?:query|mutation)\s+(\w+)", body)
        answer = {"data": ANSWERS[name[1]]} if name and name[1] in ANSWERS else {"errors": [{"message": "unknown"}]}
        self.server.asked.append(name[1] if name else self.path)  # type: ignore[attr-defined]
        content = json.dumps(answer if "graphql" in self.path else {}).encode()
        status, kind = 200, "application/json"
        if fault and not (name and name[1] == "Viewer" and fault == "runs fail"):
            status, kind, content = FAULTS[fault]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class WandbServer(ThreadingHTTPServer):
    """Listens on this machine from the beginning on, until ``die``; has a fault of FAULTS, "hangs", or none."""

    daemon_threads = True

    def __init__(self, fault: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault = fault
        self.closing = threading.Event()
        self.asked: list[str] = []
        self.alive = True
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self.closing.set()
            self.shutdown()
            self.server_close()
