"""What a customer loses when servers die, networks go silent and tokens end: nothing, and nothing comes twice."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from ...redis_server import RedisServer
from ..cluster import QUICK_LEASE, start_node
from ..conftest import Server, start_server
from .conftest import QUICK_START, Visit
from .dictation import Dictation
from .line import Line
from .visitor import Visitor, answers, growing, own

pytestmark = pytest.mark.browser
QUESTION = "Where is my order 12345?"
PIECES = ["Your order ", "12345 left ", "our warehouse ", "on Monday ", "and arrives ", "on Friday."]
ANSWER = "".join(PIECES)
UNTIL_STORED = """async (text) => {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  for (;;) {
    const database = await done(indexedDB.open("csgate"));
    const stored = [];
    for (const name of database.objectStoreNames)
      stored.push(JSON.stringify(await done(database.transaction(name).objectStore(name).getAll())));
    database.close();
    if (stored.some((values) => values.includes(text))) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}"""
"""Waits until the browser's database has a text."""


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    running = Line(server.port)
    yield running
    running.close()


@pytest.fixture
def nodes(dictation: Dictation, tmp_path: Path) -> Iterator[list[Server]]:
    """Two on one Redis, which browsers may change between."""
    redis = RedisServer(tmp_path / "redis")
    settings = {**QUICK_LEASE, **dictation.environment, "CSGATE_SERVER__ORIGINS": '["*"]'}
    with ThreadPoolExecutor(2) as pool:
        running = list(pool.map(lambda name: start_node(tmp_path, redis, name, **settings), ("node1", "node2")))
    # What a page may connect to is said when it is loaded: by then each has to know of the other.
    with httpx.Client() as client:
        for node, other in (running, running[::-1]):
            while other.ws.removesuffix("/ws") not in client.get(node.http).headers["content-security-policy"]:
                time.sleep(0.05)
    yield running
    dictation.dictate((), 0)
    for node in running:
        node.process.kill()
        node.wait(10)
    redis.kill()


def test_a_server_killed_in_the_middle_of_an_answer(dictation: Dictation, visit: Visit, tmp_path: Path) -> None:
    """What was asked before, while it was dead, and in a tab that was closed meanwhile is answered, each once."""
    running = start_server(tmp_path, **QUICK_START, **dictation.environment)
    try:
        visitor = visit(running, network_fails=True)
        page = visitor.page
        dictation.dictate(PIECES, 3)
        visitor.say(QUESTION)
        expect(growing(page)).to_contain_text("our warehouse")
        subject = visitor.subject()

        running.stop(signal.SIGKILL)
        expect(page.locator("[data-connection=online]")).to_have_count(0)
        visitor.say("And order 777?")
        expect(page.locator(".row.own:not([data-state=sent])")).to_have_count(1)
        expect(page.locator(".banner")).to_contain_text("No connection")
        dictation.allow()
        running = start_server(tmp_path, running.port, **QUICK_START, **dictation.environment)
        expect(answers(page)).to_have_text([ANSWER, ANSWER])
        expect(own(page)).to_have_text([QUESTION, "And order 777?"])
        expect(page.locator(".banner")).to_be_hidden()

        running.stop(signal.SIGKILL)
        visitor.say("And order 888?")
        expect(page.locator(".row.own:not([data-state=sent])")).to_have_count(1)
        page.evaluate(UNTIL_STORED, "And order 888?")  # it is shown a moment before
        page.close()
        running = start_server(tmp_path, running.port, **QUICK_START, **dictation.environment)
        page = visitor.open()
        expect(answers(page)).to_have_text([ANSWER] * 3)
        expect(own(page)).to_have_text([QUESTION, "And order 777?", "And order 888?"])

        log = export(tmp_path, subject)
        asked = [event for event in log if event["type"] == "message"]
        assert [event["text"] for event in asked] == [QUESTION, "And order 777?", "And order 888?"]
        replies = [event for event in log if event["type"] in ("reply", "error")]
        assert [event["id"] for event in replies] == [event["id"] for event in asked]
        assert all(event["text"] == ANSWER for event in replies)
    finally:
        running.process.kill()
        running.wait(10)


def test_another_node_goes_on_where_one_died(nodes: list[Server], dictation: Dictation, visit: Visit) -> None:
    one, two = nodes
    visitor = visit(one, network_fails=True)
    page = visitor.page
    dictation.dictate(PIECES, 3)
    visitor.say(QUESTION)
    expect(growing(page)).to_contain_text("our warehouse")
    assert all(socket.url.startswith(one.ws) for socket in visitor.sockets)
    one.process.kill()
    dictation.allow()
    expect(answers(page)).to_have_text([ANSWER])
    visitor.say("And order 777?")
    expect(answers(page)).to_have_text([ANSWER, ANSWER])
    expect(own(page)).to_have_text([QUESTION, "And order 777?"])
    assert visitor.sockets[-1].url.startswith(two.ws)
    assert two.metric("csgate_connections") == 1


def test_twenty_seconds_without_a_network(server: Server, line: Line, browser: Browser, visit: Visit) -> None:
    """Of two customers one is told by the device, the other one's packets vanish. Both are answered once, later."""
    told = visit(server, network_fails=True)
    silent = Visitor(browser, line.http, network_fails=True)
    try:
        for visitor in (told, silent):
            visitor.say(QUESTION)
            expect(answers(visitor.page)).to_have_count(1)
        told.context.set_offline(True)
        line.fall_silent()
        began = time.monotonic()
        for visitor in (told, silent):
            visitor.say("And order 777?")
            expect(own(visitor.page).last).to_have_text("And order 777?")
        expect(told.page.locator(".banner")).to_contain_text("You are offline")
        expect(silent.page.locator(".banner")).to_contain_text("No connection")
        told.page.wait_for_timeout(max(0.0, began + 20 - time.monotonic()) * 1000)
        for visitor in (told, silent):
            expect(answers(visitor.page)).to_have_count(1)
        told.context.set_offline(False)
        line.come_back()
        for visitor in (told, silent):
            expect(answers(visitor.page)).to_have_count(2)
            expect(answers(visitor.page).last).to_contain_text("777")
            expect(visitor.page.locator(".row.own[data-state=sent]")).to_have_count(2)
            expect(visitor.page.locator(".banner")).to_be_hidden()
            assert (
                len([event for event in export(server.data_dir, visitor.subject()) if event["type"] == "message"]) == 2
            )
    finally:
        silent.close()


def test_a_token_is_renewed_before_it_ends(own_server: Callable[..., Server], visit: Visit) -> None:
    """Guests' tokens last a minute and two seconds; a minute before their end the browser is told."""
    running = own_server(CSGATE_AUTH__GUEST_SECONDS="62", **QUICK_START)
    visitor = visit(running)
    visitor.say(QUESTION)
    expect(answers(visitor.page)).to_have_count(1)
    subject = visitor.subject()
    for _ in range(40):
        if any(isinstance(frame, str) and '"type":"refresh"' in frame for frame in visitor.frames):
            break
        visitor.page.wait_for_timeout(250)
    (refresh, *_) = [json.loads(frame) for frame in visitor.frames if isinstance(frame, str) and "refresh" in frame]
    assert refresh["token"] != ""
    assert visitor.subject() == subject
    visitor.say("And order 777?")
    expect(answers(visitor.page)).to_have_count(2)
    assert len(visitor.sockets) == 1


def test_a_token_that_has_ended_is_renewed_and_the_customer_stays(server: Server, visit: Visit) -> None:
    visitor = visit(server)
    page = visitor.page
    visitor.say(QUESTION)
    expect(answers(page)).to_have_count(1)
    subject = visitor.subject()
    ended = server.token(subject, lifetime=-60, guest=True)
    asked: list[Any] = []

    def give_the_ended_one(route: Route) -> None:
        asked.append(route.request.post_data_json)
        if len(asked) == 1:
            route.fulfill(json={"token": ended, "subject": subject, "expires_at": 0})
        else:
            route.continue_()

    page.route("**/v1/guest", give_the_ended_one)
    page.evaluate(
        """ended => new Promise(done => {
            const opening = indexedDB.open("csgate");
            opening.onsuccess = () => {
                const changing = opening.result.transaction("values", "readwrite");
                changing.objectStore("values").put(ended, "guest");
                changing.oncomplete = () => { opening.result.close(); done(); };
            };
        })""",
        ended,
    )
    page.reload()
    visitor.online()
    assert asked == [{"token": ended}] * 2
    assert visitor.subject() == subject
    expect(answers(page)).to_have_count(1)
    visitor.say("And order 777?")
    expect(answers(page)).to_have_count(2)


def export(data_dir: Path, subject: str) -> list[dict[str, Any]]:
    """What ``csgate conversations export`` says of one customer: messages and their ends, in their order."""
    done = subprocess.run(
        [sys.executable, "-m", "csgate", "conversations", "export", "--subject", subject, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    return [entry for entry in entries if entry["type"] in ("message", "reply", "error")]
