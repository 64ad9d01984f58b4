"""Peer: LitServe, HTTP, batches up to 16."""

import sys
from typing import Any

import litserve
import numpy as np
from tagging import Tagger


class TagApi(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:
        self.tagger = Tagger(sys.argv[2])

    def decode_request(self, request: dict[str, Any]) -> Any:
        return self.tagger.decode(request["image"])

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        return self.tagger.run(x)

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"tags": output}


if __name__ == "__main__":
    api = TagApi(max_batch_size=16, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
