"""What loading the page costs a browser, and whether anything jumps: Lighthouse's questions, the browser's counters."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from playwright.sync_api import Browser, expect

from ..conftest import Server
from .dictation import Dictation
from .visitor import Visitor, answers, growing

QUESTION = "Where is my order 12345?"
PIECES = [
    *(
        "Here is what happens ",
        "with order **12345**:\n\n",
        "1. It is packed ",
        "today\n",
        "2. It leaves ",
        "tomorrow ",
    ),
    *("morning\n", "3. It is with you ", "**on Friday**\n\n", "You get a message ", "with a link ", "to follow it "),
    *(
        "as soon as ",
        "it is on its way. ",
        "Should it not come, ",
        "tell us here, ",
        "and a colleague ",
        "looks into it.",
    ),
]
OBSERVE = """
window.figures = { fcp: 0, lcp: 0, shift: 0, blocked: 0, longest: 0 };
const observe = (type, take) =>
    new PerformanceObserver(list => list.getEntries().forEach(take)).observe({ type, buffered: true });
observe("paint", one => { if (one.name === "first-contentful-paint") figures.fcp = one.startTime; });
observe("largest-contentful-paint", one => figures.lcp = one.startTime);
observe("layout-shift", one => figures.shift += one.value);
observe("longtask", one => {
    figures.blocked += Math.max(0, one.duration - 50);
    figures.longest = Math.max(figures.longest, one.duration);
});
"""


@dataclass(frozen=True)
class Profile:
    """Whose browser it is. ``bytes_per_second`` 0: as fast as it goes."""

    name: str
    width: int
    height: int
    bytes_per_second: float = 0.0
    latency_ms: float = 0.0
    slower: float = 1.0


DESKTOP = Profile("desktop", 1280, 800)
PHONE = Profile("phone", 390, 844, bytes_per_second=1.6e6 / 8, latency_ms=150, slower=4.0)
"""Lighthouse's phone: 1.6 Mbit/s, 150 ms there and back, a processor four times as slow."""


@dataclass(frozen=True)
class Figures:
    """One visit.

    Attributes:
        first_paint_ms: first contentful paint since the navigation began.
        largest_paint_ms: largest contentful paint.
        ready_ms: until the chat is connected.
        bytes: what came over HTTP, headers included, as it was sent.
        requests: how many of them.
        script_ms: JavaScript on the main thread until the chat was connected.
        main_thread_ms: all work of the main thread until then.
        blocked_ms: what its tasks took beyond 50 ms each.
        shift_loading: cumulative layout shift until the chat was connected, shifts after input included.
        shift_streaming: the same from the first piece of an answer to its end.
    """

    first_paint_ms: float
    largest_paint_ms: float
    ready_ms: float
    bytes: int
    requests: int
    script_ms: float
    main_thread_ms: float
    blocked_ms: float
    shift_loading: float
    shift_streaming: float


def measure(browser: Browser, server: Server, dictation: Dictation, profile: Profile) -> Figures:
    """One visit of somebody who was never there before; ``server`` answers what is dictated."""
    visitor = Visitor(browser, server.http, path=None, viewport={"width": profile.width, "height": profile.height})
    page = visitor.page
    page.add_init_script(OBSERVE)
    session = visitor.context.new_cdp_session(page)
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    session.send("Network.enable")
    session.send("Performance.enable")
    session.send("Emulation.setCPUThrottlingRate", {"rate": profile.slower})
    if profile.bytes_per_second:
        limits = {"downloadThroughput": profile.bytes_per_second, "uploadThroughput": profile.bytes_per_second}
        session.send("Network.emulateNetworkConditions", {"offline": False, "latency": profile.latency_ms, **limits})
    page.goto(server.http + "/")
    visitor.online()
    ready = page.evaluate("performance.now()")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    loaded: dict[str, Any] = page.evaluate("({...figures})")
    counters = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    transferred = list(sizes)

    dictation.dictate(PIECES, 1)
    visitor.say(QUESTION)
    expect(growing(page)).to_contain_text("Here is what happens")
    page.evaluate("figures.shift = 0")
    for _ in PIECES:
        dictation.allow(1)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(answers(page)).to_contain_text("looks into it.")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    shift = page.evaluate("figures.shift")
    visitor.close()
    return Figures(
        first_paint_ms=round(loaded["fcp"], 1),
        largest_paint_ms=round(loaded["lcp"], 1),
        ready_ms=round(ready, 1),
        bytes=sum(transferred),
        requests=len(transferred),
        script_ms=round(counters["ScriptDuration"] * 1000, 1),
        main_thread_ms=round(counters["TaskDuration"] * 1000, 1),
        blocked_ms=round(loaded["blocked"], 1),
        shift_loading=round(loaded["shift"], 5),
        shift_streaming=round(shift, 5),
    )


def median(visits: list[Figures]) -> dict[str, float]:
    """Of each figure on its own."""
    rows = [asdict(visit) for visit in visits]
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}
