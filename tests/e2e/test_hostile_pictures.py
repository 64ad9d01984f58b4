"""Hostile pictures through every door of a real server: refused in so many words or made safe, at a bounded price."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.media.hostile import CORPUS, Hostile
from tests.media.hostile_run import judge

from . import pictures
from .conftest import Server, start_server
from .raw import Closed, ask, open_v1
from .test_media import Answer, bearer, presigned, put, request

MAX_CPU_S = 1.0
MAX_GROWTH = 200 << 20
MESSAGE_BYTES = 8 << 20
REFUSALS = {"bad_envelope", "bad_image", "image_too_large", "too_large", "unsupported_image"}
EVERYWHERE = (
    "png_of_four_thousand_million_pixels",
    "png_as_large_as_may_be",
    "gif_whose_frames_are_larger_than_itself",
    "webp_moving_as_large_as_may_be",
    "jpeg_progressive_as_large_as_may_be",
    "jpeg_of_thousands_of_scans",
    "jpeg_cut_off",
    "jpeg_with_a_page_in_its_comment_and_behind_it",
    "page_that_says_it_is_a_jpeg",
    "png_that_says_it_is_a_jpeg",
    "svg_with_a_script",
    "jpeg_with_a_profile_of_four_megabytes",
    "gif_of_ten_thousand_frames",
    "webp_of_thousands_of_wide_frames",
)
"""These come through all doors; the others take turns with the doors."""


class Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Outcome:
    """``told``: the code of a refusal, or "safe". ``seconds`` of the server's processor time; ``growth`` in bytes."""

    told: str
    seconds: float
    growth: int


class Target:
    """The server, what it has used up, and a customer who tries one picture after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.process = psutil.Process(server.process.pid)
        self.folder = Path(f"/proc/{server.process.pid}")
        self.client, self.welcome = open_v1(server)
        self.sent = 0

    def seconds(self) -> float:
        """Its own time: the machine may be busy with others."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident(self, field: str) -> int:
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def forget_peak(self) -> None:
        (self.folder / "clear_refs").write_text("5")

    def next_id(self) -> str:
        self.sent += 1
        return f"m{self.sent}"

    def result(self, id: str) -> bytes:
        """The picture of a message that was answered, as another tab gets it."""
        try:
            # One that is too large to be read is refused without its id.
            while (event := self.client.expect("reply", "error")).get("id", id) != id:
                pass
        except Closed as closed:
            # … and one that is too large to be passed over ends the connection.
            if closed.code != 1009:
                raise
            self.client.sock.close()
            self.client, self.welcome = open_v1(self.server)
            raise Refused("too_large") from None
        if event["type"] == "error":
            raise Refused(event["code"])
        tab, _ = open_v1(self.server, conversation=self.welcome["conversation"])
        with tab:
            url = next(one for one in tab.expect("history")["events"] if one.get("id") == id)["image_url"]
        if url.startswith("data:"):
            return base64.b64decode(url.partition(",")[2])
        shown = request(self.server, "GET", url.partition("#")[0])
        assert shown.status == 200
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert shown.headers["content-type"] in ("image/jpeg", "image/png", "image/webp", "image/gif")
        return shown.body

    def by_text(self, data: bytes, type: str) -> bytes:
        id = self.next_id()
        self.client.send_json(
            {"type": "message", "id": id, "image": f"data:{type};base64,{pictures.base64_text(data)}"}
        )
        return self.result(id)

    def by_frame(self, data: bytes, type: str) -> bytes:
        id = self.next_id()
        self.client.send_binary({"type": "message", "id": id}, data)
        return self.result(id)

    def by_upload(self, data: bytes, type: str) -> bytes:
        who = bearer(self.server)
        sent = request(self.server, "POST", "/v1/uploads", data, Authorization=who, Content_Type=type)
        return self.named(accepted(sent).json["upload"])

    def by_offer(self, data: bytes, type: str) -> bytes:
        offer = accepted(presigned(self.server, data, type=type)).json
        accepted(put(self.server, offer, data))
        return self.named(offer["upload"])

    def named(self, upload: str) -> bytes:
        id = self.next_id()
        self.client.send_json({"type": "message", "id": id, "upload": upload})
        return self.result(id)

    def send(self, by: Callable[[bytes, str], bytes], data: bytes, type: str) -> Outcome:
        self.forget_peak()
        rest, begun = self.resident("VmRSS"), self.seconds()
        try:
            told = judge(by(data, type))
        except Refused as refused:
            told = refused.code
        return Outcome(told, self.seconds() - begun, self.resident("VmHWM") - rest)


def accepted(answer: Answer) -> Answer:
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.json) <= {"code", "message", "ref", "max_bytes"}
        raise Refused(answer.json["code"])
    return answer


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    # Its time is measured, and measuring coverage would double it.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            patch.delenv(name, raising=False)
        server = start_server(tmp_path_factory.mktemp("hostile"))
    target = Target(server)
    try:
        yield target
    finally:
        target.client.sock.close()
        if server.process.poll() is None:
            server.stop()


def expected(outcome: Outcome, one: Hostile, name: str, door: str, size: int) -> bool:
    if outcome.told not in REFUSALS | {"safe"}:
        return False
    if door in ("by_text", "by_frame") and size * (4 / 3 if door == "by_text" else 1) > MESSAGE_BYTES - 1024:
        return outcome.told == "too_large"
    if door == "by_offer" and name == "png_that_says_it_is_a_jpeg":
        return outcome.told == "bad_image"
    return one.outcome == "either" or (outcome.told == "safe") is (one.outcome == "safe")


def test_hostile_pictures_through_every_door(target: Target) -> None:
    doors = (target.by_text, target.by_frame, target.by_upload, target.by_offer)
    for door in doors:  # an ordinary one through each, so that all is loaded that ever will be
        assert target.send(door, pictures.jpeg(1600, 1200), "image/jpeg").told == "safe"
    target.forget_peak()
    rest = target.resident("VmRSS")
    outcomes: dict[str, Outcome] = {}
    wrong = []
    for number, (name, one) in enumerate(CORPUS.items()):
        data = one.make()
        for door in doors if name in EVERYWHERE else (doors[number % len(doors)],):
            outcome = target.send(door, data, one.type)
            outcomes[f"{name} {door.__name__}"] = outcome
            if not expected(outcome, one, name, door.__name__, len(data)):
                wrong.append((name, door.__name__, outcome))
    assert not wrong
    print(*(f"{name}: {cost}" for name, cost in outcomes.items()), sep="\n")
    assert {name: cost for name, cost in outcomes.items() if cost.seconds > MAX_CPU_S} == {}
    assert {name: cost for name, cost in outcomes.items() if cost.growth > MAX_GROWTH} == {}
    assert ask(target.client, "still", "Where is my order 12345?")["type"] == "reply"
    assert target.server.status("/healthz")[0] == 200
    assert target.resident("VmRSS") - rest < MAX_GROWTH
    bad = ("connection_failed", "http_failed", "turn_failed", "picture_lost", "media_store_failed")
    assert not [line for line in target.server.log if line["event"] in bad or line.get("code") == "internal"]
