"""Peer: Mosec, HTTP, two decoding workers and one model worker that batches up to 16."""

import os
from typing import Any

import numpy as np
from mosec import Server, Worker
from tagging import Tagger

MODEL = os.environ["BENCH_MODEL"]


class Decode(Worker):
    def __init__(self) -> None:
        self.tagger = Tagger(MODEL)

    def forward(self, data: dict[str, Any]) -> Any:
        return self.tagger.decode(data["image"])

    def serialize_ipc(self, data: Any) -> bytes:
        return bytes(data.tobytes())


class Tag(Worker):
    def __init__(self) -> None:
        self.tagger = Tagger(MODEL)

    def deserialize_ipc(self, data: bytes) -> Any:
        return np.frombuffer(data, np.float32).reshape(3, *self.tagger.size[::-1])

    def forward(self, data: list[Any]) -> list[dict[str, Any]]:
        return [{"tags": tags} for tags in self.tagger.run(np.stack(data))]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Decode, num=2)
    server.append_worker(Tag, num=1, max_batch_size=16, max_wait_time=2)
    server.run()
