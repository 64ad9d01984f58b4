"""From the bytes of a received chat message to a normalised tensor, csgate against what one would write without it.

    python benchmarks/bench_intake.py [--rounds N]

A message is JSON with a picture in Base64; the tensor is float32[3, S, S] in the caller's buffer. Everybody does the
same work: parse, decode Base64 strictly, decode the picture, put it on white, scale and crop it to a square with
antialiasing, normalise. The peers:

    json      json, base64, Pillow, NumPy
    orjson    orjson, pybase64, Pillow with draft (JPEG at a reduced DCT scale), NumPy
    msgspec   msgspec with a bytes field (decodes the Base64 itself), Pillow with draft, NumPy
    csgate    its own protocol decoder, picture decoder and native core, called as its engine calls them

NumPy's part is written as well as NumPy allows: one multiplication and one addition, into the row, no temporaries. The
second table has the usual way too ("plain"): ``((x / 255 - mean) / std).transpose(2, 0, 1)``. All run in turn, round by
round, in one process on one thread; figures are medians of the thread's processor time, which other work on the machine
disturbs less than the wall clock, and ratios are made within the run. Reading that clock is a system call; what it
takes is measured beforehand and taken off, for everybody alike.
"""

import argparse
import base64
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import thread_time_ns
from typing import Any

import msgspec
import numpy as np
import orjson
import pybase64
import report
from PIL import Image, ImageDraw, ImageOps

from csgate import _fast, pictures
from csgate.protocol import decode_text
from csgate.protocol.client import Message

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
WHITE = (255, 255, 255)
MUL = (1 / (255 * np.array(STD, np.float32)))[:, None, None]
ADD = (-np.array(MEAN, np.float32) / np.array(STD, np.float32))[:, None, None]
PEERS = ("json", "orjson", "msgspec")
MAX_PIXELS = 40_000_000


class ChatMessage(msgspec.Struct):
    type: str
    id: str
    text: str
    image: bytes


_MESSAGE = msgspec.json.Decoder(ChatMessage)

# --- The pictures ----------------------------------------------------------------------------------------------------


def photograph(width: int, height: int, size: int) -> bytes:
    """A JPEG of about ``size`` bytes: soft shapes with grain on them, which codes like a photograph."""
    dice = np.random.default_rng(width)
    layers = np.zeros((height, width, 3), np.float32)
    for cells, strength in ((4, 110), (16, 60), (64, 30), (256, 14)):
        coarse = dice.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        for channel in range(3):
            plane = Image.fromarray(coarse[:, :, channel]).resize((width, height), Image.Resampling.BICUBIC)
            layers[:, :, channel] += np.asarray(plane)
    layers += dice.normal(0, 4, layers.shape)
    image = Image.fromarray((layers + 128).clip(0, 255).astype(np.uint8))
    low, high = 1, 97
    while low < high:  # the highest quality that stays below the size
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(jpeg(image, middle)) <= size else (low, middle - 1)
    return jpeg(image, low)


def jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def sticker() -> bytes:
    """A PNG of about 5 KB with a transparent ground: a face, drawn large and shrunk, so that its edges are soft."""
    big = Image.new("RGBA", (1024, 1024), (0, 0, 0, 0))
    draw = ImageDraw.Draw(big)
    draw.ellipse((40, 40, 984, 984), fill=(255, 204, 77, 255), outline=(190, 130, 20, 255), width=24)
    for left in (270, 610):
        draw.ellipse((left, 280, left + 140, 520), fill=(102, 69, 0, 255))
        draw.ellipse((left + 30, 310, left + 80, 380), fill=(255, 255, 255, 255))
    draw.chord((250, 440, 774, 860), 10, 170, fill=(102, 69, 0, 255))
    draw.chord((380, 640, 644, 920), 200, 340, fill=(230, 70, 80, 255))
    stream = io.BytesIO()
    big.resize((72, 72), Image.Resampling.LANCZOS).save(stream, "PNG")
    return stream.getvalue()


@dataclass(frozen=True)
class Case:
    name: str
    picture: bytes
    message: bytearray  # as a socket's reader hands it over
    size: int  # of the tensor's side


def cases() -> list[Case]:
    files = [
        ("sticker PNG", sticker()),
        ("photo 1280x960", photograph(1280, 960, 130_000)),
        ("photo 2560x1920", photograph(2560, 1920, 1_000_000)),
    ]
    made = []
    for name, picture in files:
        body = {
            "type": "message",
            "id": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            "text": "Where is my order 12345? 我的订单在哪里？",
            "image": base64.b64encode(picture).decode(),
        }
        message = bytearray(json.dumps(body, ensure_ascii=False).encode())
        made += [Case(f"{name}, {len(picture) / 1000:,.0f} KB", picture, message, size) for size in (224, 48)]
    return made


# --- The ways, in four stages: message -> Base64 text -> file -> decoded picture -> row ------------------------------

Stage = Callable[[Any], Any]


@dataclass(frozen=True)
class Way:
    """``codec`` is the picture codec alone, the only stage that is the same library for all."""

    parse: Stage
    unpack: Stage
    codec: Stage
    tensor: Stage

    def whole(self, message: bytearray) -> Any:
        return self.tensor(self.codec(self.unpack(self.parse(message))))


def pillow(size: int, draft: bool) -> Stage:
    def codec(data: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(data))
        if draft and image.format == "JPEG":
            image.draft("RGB", (size, size))
        image.load()
        return image

    return codec


def numpy_tensor(row: np.ndarray) -> Stage:
    size = row.shape[-1]

    def tensor(image: Image.Image) -> np.ndarray:
        if image.mode == "RGBA":
            ground = Image.new("RGBA", image.size, WHITE)
            ground.alpha_composite(image)
            image = ground
        if image.mode != "RGB":
            image = image.convert("RGB")
        fitted = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        np.multiply(np.asarray(fitted).transpose(2, 0, 1), MUL, out=row)
        np.add(row, ADD, out=row)
        return row

    return tensor


def csgate_way(row: np.ndarray) -> Way:
    size = row.shape[-1]

    def parse(message: bytearray) -> Any:
        envelope = decode_text(message, simple=False, max_depth=10, max_text_chars=8192)
        assert isinstance(envelope, Message)
        return envelope.picture

    def codec(data: bytes) -> pictures.DecodedPicture:
        return pictures.decode(data, max_pixels=MAX_PIXELS, cover=(size, size))

    def tensor(decoded: pictures.DecodedPicture) -> np.ndarray:
        _fast.prepare(decoded.pixels, row, mean=MEAN, std=STD, fill=WHITE, alpha=decoded.alpha)
        return row

    return Way(parse, pictures.file_bytes, codec, tensor)


def ways(size: int) -> dict[str, Way]:
    def row() -> np.ndarray:
        return np.zeros((3, size, size), np.float32)

    return {
        "json": Way(
            lambda message: json.loads(message)["image"],
            lambda text: base64.b64decode(text, validate=True),
            pillow(size, draft=False),
            numpy_tensor(row()),
        ),
        "orjson": Way(
            lambda message: orjson.loads(message)["image"],
            lambda text: pybase64.b64decode(text, validate=True),
            pillow(size, draft=True),
            numpy_tensor(row()),
        ),
        "msgspec": Way(
            lambda message: _MESSAGE.decode(message).image,
            lambda data: data,
            pillow(size, draft=True),
            numpy_tensor(row()),
        ),
        "csgate": csgate_way(row()),
    }


# --- Measuring -------------------------------------------------------------------------------------------------------


def clock_ns(rounds: int = 2000) -> float:
    """What two readings of the clock are apart with nothing between them, at the median."""
    samples = []
    for _ in range(rounds):
        began = thread_time_ns()
        samples.append(thread_time_ns() - began)
    return median(samples)


CLOCK_NS = clock_ns()


def timed(stage: Stage, argument: Any) -> tuple[float, Any]:
    began = thread_time_ns()
    result = stage(argument)
    return (thread_time_ns() - began - CLOCK_NS) / 1e6, result


def measure(case: Case, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds by way: medians of the whole, of each stage, and of all stages but the codec."""
    found = ways(case.size)
    check_same(case, found)
    samples: dict[str, dict[str, list[float]]] = {
        name: {key: [] for key in ("whole", "parse", "base64", "codec", "tensor", "without_codec")} for name in found
    }
    for turn in range(rounds + 2):
        for name, way in found.items():
            whole, _ = timed(way.whole, case.message)
            parse, text = timed(way.parse, case.message)
            unpack, data = timed(way.unpack, text)
            codec, decoded = timed(way.codec, data)
            tensor, _ = timed(way.tensor, decoded)
            if turn >= 2:  # the first ones warm caches and allocators
                for key, value in {
                    "whole": whole,
                    "parse": parse,
                    "base64": unpack,
                    "codec": codec,
                    "tensor": tensor,
                    "without_codec": parse + unpack + tensor,
                }.items():
                    samples[name][key].append(value)
    return {
        name: {key: median(values) for key, values in kept.items()}
        | {"whole_p99": report.percentile(kept["whole"], 0.99)}
        for name, kept in samples.items()
    }


def check_same(case: Case, found: dict[str, Way]) -> None:
    """All with draft give the same tensor, to within a level or so of rounding."""
    reference = found["orjson"].whole(case.message)
    got = found["csgate"].whole(case.message)
    worst = float(np.abs(reference - got).max()) * min(STD) * 255
    if worst > 2.5:
        raise SystemExit(f"{case.name}: csgate's tensor is {worst:.1f} levels from Pillow's")


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, taken in turn."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            began = thread_time_ns()
            call()
            if turn >= 2:
                samples[name].append((thread_time_ns() - began - CLOCK_NS) / 1e6)
    return {name: median(values) for name, values in samples.items()}


def measure_base64(rounds: int) -> list[dict[str, Any]]:
    found = []
    for kilobytes in (8, 128, 1024):
        text = base64.b64encode(np.random.default_rng(1).bytes(kilobytes * 1024))
        view, room = memoryview(bytearray(text)), bytearray(kilobytes * 1024)
        times = in_turn(
            {
                "csgate": lambda text=view: _fast.base64_bytes(text),
                "csgate_into": lambda text=view, room=room: _fast.base64_decode(text, room),
                "pybase64": lambda text=text: pybase64.b64decode(text, validate=True),
                "base64": lambda text=text: base64.b64decode(text, validate=True),
            },
            rounds,
        )
        found.append({"kilobytes": kilobytes, "ms": times, "ratio": times["pybase64"] / times["csgate"]})
    return found


def measure_tensor(rounds: int) -> list[dict[str, Any]]:
    """Decoded pixels, uint8[H, W, 3], to the row: normalising alone, and with resizing by Pillow on NumPy's side."""
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    found = []
    for height, width, size in ((224, 224, 224), (48, 48, 48), (240, 320, 224), (480, 640, 224), (240, 320, 48)):
        pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
        row = np.zeros((3, size, size), np.float32)

        def fitted(pixels: np.ndarray = pixels, size: int = size) -> np.ndarray:
            if pixels.shape[:2] == (size, size):
                return pixels
            return np.asarray(ImageOps.fit(Image.fromarray(pixels), (size, size), Image.Resampling.BILINEAR))

        def frugal(fitted: Callable[[], np.ndarray] = fitted, row: np.ndarray = row) -> None:
            np.multiply(fitted().transpose(2, 0, 1), MUL, out=row)
            np.add(row, ADD, out=row)

        def plain(fitted: Callable[[], np.ndarray] = fitted, row: np.ndarray = row) -> None:
            row[:] = ((fitted().astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)

        def ours(pixels: np.ndarray = pixels, row: np.ndarray = row) -> None:
            _fast.prepare(pixels, row, mean=MEAN, std=STD)

        times = in_turn({"csgate": ours, "numpy": frugal, "numpy_plain": plain}, rounds)
        found.append(
            {
                "from": f"{width}x{height}",
                "to": size,
                "ms": times,
                "ratio": times["numpy"] / times["csgate"],
                "ratio_plain": times["numpy_plain"] / times["csgate"],
            }
        )
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="how often everything is measured (default: 60)")
    rounds = parser.parse_args(arguments).rounds
    machine = report.machine()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    base64_found = measure_base64(rounds * 4)
    tensor_found = measure_tensor(rounds * 4)
    intake = []
    for case in cases():
        ms = measure(case, rounds)
        best_rest = min(ms[peer]["without_codec"] for peer in PEERS)
        best_whole = min(ms[peer]["whole"] for peer in PEERS)
        intake.append(
            {
                "case": case.name,
                "message_bytes": len(case.message),
                "tensor": case.size,
                "ms": ms,
                "ratio_without_codec": best_rest / ms["csgate"]["without_codec"],
                "ratio_whole": best_whole / ms["csgate"]["whole"],
            }
        )

        versions = report.versions("csgate", "pillow", "numpy", "orjson", "pybase64", "msgspec")
    print(f"{machine['cpu']}, one core of {machine['cores']}, Python {machine['python']}, load {machine['load_1m']}")
    print(
        ", ".join(f"{name} {version}" for name, version in versions.items()), f"({_fast.IMPLEMENTATION}, {_fast.SIMD})"
    )
    print("\nBase64, ms\n")
    print(
        report.table(
            [
                [f"{b['kilobytes']} KB", *(b["ms"][k] for k in ("base64", "pybase64", "csgate")), f"{b['ratio']:.2f}x"]
                for b in base64_found
            ],
            ["decoded", "base64", "pybase64", "csgate", "pybase64 / csgate"],
        )
    )
    print("\nTensor preparation, ms (with Pillow's resize where the sizes differ)\n")
    print(
        report.table(
            [
                [
                    t["from"],
                    t["to"],
                    *(t["ms"][k] for k in ("numpy_plain", "numpy", "csgate")),
                    f"{t['ratio_plain']:.1f}x",
                    f"{t['ratio']:.1f}x",
                ]
                for t in tensor_found
            ],
            ["from", "to", "NumPy, plain", "NumPy", "csgate", "plain / csgate", "NumPy / csgate"],
        )
    )
    print("\nWhole intake, ms (in brackets: all but the picture codec)\n")
    print(
        report.table(
            [
                [
                    i["case"],
                    i["tensor"],
                    *(f"{i['ms'][k]['whole']:.3f} ({i['ms'][k]['without_codec']:.3f})" for k in (*PEERS, "csgate")),
                    f"{i['ratio_whole']:.2f}x",
                    f"{i['ratio_without_codec']:.1f}x",
                ]
                for i in intake
            ],
            ["picture", "to", *PEERS, "csgate", "best peer / csgate", "without codec"],
        )
    )
    saved = report.save(
        "intake",
        {
            "versions": versions,
            "implementation": _fast.IMPLEMENTATION,
            "simd": _fast.SIMD,
            "rounds": rounds,
            "clock_ns": CLOCK_NS,
            "base64": base64_found,
            "tensor": tensor_found,
            "intake": intake,
        },
    )
    print(f"\nSaved {saved}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
