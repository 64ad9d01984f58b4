"""A language model that says what it is told, and no further than it is told: the middle of an answer stays one."""

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GIVE_UP_S = 60.0


class Dictation:
    """Speaks OpenAI's API on a port of this machine."""

    def __init__(self) -> None:
        self.asked = 0
        self._pieces: tuple[str, ...] = ()
        self._ready = 0
        self._take = 0
        self._changed = threading.Condition()
        dictation = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for piece in dictation._listen():
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

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CSGATE_GENERATION__GENERATOR": f"http://127.0.0.1:{self._server.server_port}/v1",
            "CSGATE_GENERATION__MODEL": "dictation",
        }

    def dictate(self, pieces: Sequence[str], ready: int) -> None:
        """The next answers consist of ``pieces``, of which so many may be said. Earlier ones end where they are."""
        with self._changed:
            self._pieces, self._ready = tuple(pieces), ready
            self._take += 1
            self._changed.notify_all()

    def allow(self, more: int | None = None) -> None:
        """So many pieces more; all of them by default."""
        with self._changed:
            self._ready = len(self._pieces) if more is None else self._ready + more
            self._changed.notify_all()

    def close(self) -> None:
        self.dictate((), 0)
        self._server.shutdown()
        self._server.server_close()

    def _listen(self) -> Any:
        with self._changed:
            self.asked += 1
            pieces, take = self._pieces, self._take
        for number, piece in enumerate(pieces):
            if not self._may_say(number, take):
                return
            yield piece

    def _may_say(self, number: int, take: int) -> bool:
        """Waits until the piece may be said; False where nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: number < self._ready or take != self._take, GIVE_UP_S)
            return take == self._take
