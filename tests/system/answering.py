"""A custom container's program: answer each prediction with this revision's word. Run by pods of the system tests, never imported.

PORT and FLAMBEAU_POD_IP come from the pod; WORD from the manifest. With the word ``broken`` it ends at once, as a bad image would.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORD = os.environ["WORD"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write

    def do_GET(self) -> None:
        self._answer({"ready": True})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"predictions": [WORD]})

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: thousands of requests come."""


if __name__ == "__main__":
    if WORD == "broken":
        sys.exit("the weights do not fit the model")
    ThreadingHTTPServer((os.environ.get("FLAMBEAU_POD_IP", "127.0.0.1"), int(os.environ["PORT"])), Handler).serve_forever()
