"""Any sequence of operations gives the same answers from the store in memory and from the one in a file."""

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from csgate.config import SessionSettings
from csgate.errors import DuplicateMismatch
from csgate.events import (
    ErrorEvent,
    Intent,
    MessageEvent,
    Picture,
    Principal,
    RateEvent,
    ReplyEvent,
    Sentiment,
    StateEvent,
    Tag,
)
from csgate.session import Header, MemoryStore, OpenTurn, Store
from csgate.session.sqlite import open_sqlite_store
from csgate.telemetry import Telemetry

MAX_EVENTS = 5
PAGE_EVENTS = 3
SETTINGS = SessionSettings(max_events=MAX_EVENTS, page_events=PAGE_EVENTS, cache_bytes=6_000, durability="normal")

names = st.sampled_from("abc")
ids = st.sampled_from("mnop")
Step = Callable[[Store, str], Awaitable[Any]]


def header(name: str) -> Header:
    return Header(name, f"epoch-{name}", "shop", "t1", "ann")


@st.composite
def steps(draw: st.DrawFn) -> Step:
    name, id = draw(names), draw(ids)
    match draw(st.sampled_from(("accept", "accept", "finish", "finish", "append", "read", "read", "recall", "prune"))):
        case "accept":
            digest, asks = draw(st.sampled_from((b"1" * 16, b"2" * 16))), draw(st.booleans())
            text = draw(st.sampled_from(("hi", "", "你好 \U0001f600\x00")))
            picture = draw(
                st.sampled_from(
                    (None, Picture(memoryview(b"\x00\xff"), "binary", "pictures/1"), Picture(b"AA", "base64"))
                )
            )
            turn = OpenTurn(id, text, picture, Principal("ann"), "zh") if asks else None
            return lambda store, at: store.accept(
                header(name), MessageEvent(id, 0, "customer", text, at, draw_url), digest, turn
            )
        case "finish" if draw(st.booleans()):
            return lambda store, at: store.finish(header(name), id, ErrorEvent("internal", "sorry", "r", id=id))
        case "finish":
            state = draw(st.sampled_from((None, "waiting", "human")))
            return lambda store, at: store.finish(
                header(name), id, reply(id, at), None if state is None else StateEvent(state, 0, at)
            )
        case "append" if draw(st.booleans()):
            state = draw(st.sampled_from(("waiting", "human", "bot")))
            return lambda store, at: store.append(header(name), StateEvent(state, 0, at))
        case "append":
            return lambda store, at: store.append(header(name), RateEvent(id, 5, 0, at))
        case "recall":
            return lambda store, at: store.recall(name, id)
        case "read":
            after, limit = draw(st.integers(0, 12)), draw(st.none() | st.integers(1, 4))
            return lambda store, at: store.read(name, after=after, limit=limit)
        case _:
            keep, behind, at_most = draw(st.sets(names)), draw(st.integers(0, 5)), draw(st.integers(1, 3))
            return lambda store, at: store.prune(keep, now=at, before=moment(int(at) - behind), at_most=at_most)


draw_url = "https://pictures.example/1"


def moment(number: int) -> str:
    return f"{number:06}"


def reply(id: str, at: str) -> ReplyEvent:
    tags = (Tag("cat", "猫", 0.5),)
    return ReplyEvent(
        id, 0, "yes", Intent("x", 0.25), Sentiment("neutral", 0.0), tags, "", "canned", at, {"total": 1.5}
    )


async def answer(store: Store, step: Step, at: str) -> Any:
    try:
        return await step(store, at)
    except DuplicateMismatch:
        return DuplicateMismatch


async def everything(store: Store) -> list[Any]:
    found: list[Any] = [await store.count()]
    for name in "abc":
        found += [await store.load(name), await store.read(name)]
        found += [await store.read(name, limit=PAGE_EVENTS)]
        found += [await store.recall(name, id) for id in "mnop"]
    return found


@given(st.lists(st.one_of(steps(), steps(), steps(), steps(), steps(), st.none()), max_size=40))
@settings(max_examples=60, deadline=None)
def test_both_stores_give_the_same_answers(sequence: list[Step | None]) -> None:
    async def compare(folder: Path) -> None:
        memory, at, left = MemoryStore(MAX_EVENTS), 0, sequence
        while left is not None:
            async with open_sqlite_store(folder, SETTINGS, Telemetry()) as store:
                # None in the sequence: the process ends, and another begins.
                restart = left.index(None) if None in left else len(left)
                steps, left = left[:restart], left[restart + 1 :] if restart < len(left) else None
                for step in steps:
                    assert step is not None
                    at += 1
                    assert await answer(store, step, moment(at)) == await answer(memory, step, moment(at))
                assert await everything(store) == await everything(memory)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(compare, Path(folder))
