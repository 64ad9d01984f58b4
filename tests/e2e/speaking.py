"""A language model behind OpenAI's API on a port of this machine: what it says is up to who inherits."""

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Speaker:
    """Streams the pieces of ``answer()`` to whoever asks, and counts them."""

    def __init__(self) -> None:
        self.asked = 0
        speaker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                pieces = speaker.answer()
                speaker.asked += 1
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for piece in pieces:
                        self._say({"content": piece}, None)
                    self._say({}, "stop")
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    pass  # the gateway is dead, or does not want more

            def _say(self, delta: dict[str, str], reason: str | None) -> None:
                body = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self) -> Iterable[str]:
        """The pieces of one answer, each at its time. Called before ``asked`` counts it."""
        raise NotImplementedError

    @property
    def environment(self) -> dict[str, str]:
        """What makes a gateway ask here."""
        return {
            "CSGATE_GENERATION__GENERATOR": f"http://127.0.0.1:{self._server.server_port}/v1",
            "CSGATE_GENERATION__MODEL": type(self).__name__.lower(),
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
