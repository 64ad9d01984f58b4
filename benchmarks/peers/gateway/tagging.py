"""What every Python peer does with a picture: the usual way, done well (DCT-scaled decoding, one-thread session)."""

import base64
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


class Tagger:
    def __init__(self, folder: str) -> None:
        root = Path(folder)
        manifest = tomllib.loads((root / "model.toml").read_text(encoding="utf-8"))
        precision = manifest.get("cpu") or ("int8" if "int8" in manifest["files"] else "fp32")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(root / manifest["files"][precision]["path"]), options, providers=["CPUExecutionProvider"]
        )
        self.input = manifest["input"]["name"]
        self.output = manifest["output"]["name"]
        self.size = (manifest["input"]["width"], manifest["input"]["height"])
        self.mean = np.array(manifest["input"]["mean"], np.float32)
        self.std = np.array(manifest["input"]["std"], np.float32)
        self.names = json.loads((root / manifest["labels"]["file"]).read_text(encoding="utf-8"))["names"]

    def decode(self, text: str) -> "np.ndarray[Any, Any]":
        image = Image.open(io.BytesIO(base64.b64decode(text)))
        image.draft("RGB", self.size)
        image = image.convert("RGB")
        scale = min(self.size[0] / image.width, self.size[1] / image.height)
        fitted = image.resize(
            (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX
        )
        canvas = Image.new("RGB", self.size, (255, 255, 255))
        canvas.paste(fitted, ((self.size[0] - fitted.width) // 2, (self.size[1] - fitted.height) // 2))
        pixels = (np.asarray(canvas, np.float32) / 255.0 - self.mean) / self.std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def run(self, batch: "np.ndarray[Any, Any]") -> list[list[dict[str, Any]]]:
        scores = self.session.run([self.output], {self.input: batch})[0]
        answers = []
        for row in scores:
            top = np.argsort(row)[-5:][::-1]
            answers.append([{"name": self.names[i], "score": float(row[i])} for i in top])
        return answers
