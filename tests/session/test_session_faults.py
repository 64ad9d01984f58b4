"""The SQLite store when its file or its disk fails: typed errors, nothing lost, and work goes on after."""

import os
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from csgate.config import SessionSettings
from csgate.errors import ConfigError, NotFound, Overloaded, StoreUnavailable
from csgate.events import ErrorEvent, MessageEvent, Principal, ReplyEvent
from csgate.session import Header, OpenTurn, open_conversations, open_store, sqlite
from csgate.session.sqlite import SqliteStore, open_sqlite_store
from csgate.session.sqlite_desk import DAMAGE, UNFORESEEN
from csgate.session.sqlite_file import MIGRATIONS, migrate, open_reader
from csgate.session.sqlite_ledger import Ledger
from csgate.telemetry import Telemetry

TURN = OpenTurn("m", "hi", None, Principal("ann"), "en")


def header(name: str) -> Header:
    return Header(name, "e", "shop", "t1", "ann")


def message(id: str, text: str = "hi") -> MessageEvent:
    return MessageEvent(id, 0, "customer", text, "2026-01-01T00:00:00.000Z")


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[SqliteStore]:
    chosen = SessionSettings(**{"durability": "normal", **settings})
    with trio.fail_after(30):
        async with open_sqlite_store(folder, chosen, Telemetry()) as store:
            yield store


async def pragma(store: SqliteStore, words: str) -> None:
    await store._writer.ask(lambda ledger: ledger.connection.execute(f"PRAGMA {words}").fetchall())


@asynccontextmanager
async def busy(desk: Any) -> AsyncIterator[None]:
    """Its thread is held up meanwhile, so that what is asked gathers into one group."""
    held, go = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def hold(_: Ledger) -> None:
        token.run_sync_soon(held.set)
        go.wait(20)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.ask, hold)
        await held.wait()
        try:
            yield
            await trio.testing.wait_all_tasks_blocked()
        finally:
            go.set()


class Panic(BaseException):
    """What a library in Rust raises when it panics is no ``Exception``."""


def bug(*_: Any, **__: Any) -> Any:
    raise Panic("nobody foresaw it")


@asynccontextmanager
async def impatient(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SqliteStore, Any]]:
    """A store, and its writing desk. Who waits for a thread that has died is cancelled, so that the test ends."""
    async with opened(folder) as store:
        writer: Any = store._writer
        monkeypatch.setattr(writer, "abort", trio.lowlevel.Abort.SUCCEEDED)
        with trio.fail_after(5):
            yield store, writer
            assert writer._thread.is_alive()


async def recovered(store: SqliteStore) -> None:
    while store.trouble is not None:  # noqa: ASYNC110  another thread finds out, by itself
        await trio.sleep(0.01)


# --- Groups ---------------------------------------------------------------------------------------------------------


async def test_one_bad_operation_fails_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        outcomes: dict[str, Any] = {}

        async def accept(name: str, event: MessageEvent) -> None:
            try:
                outcomes[name] = (await store.accept(header(name), event, b"1", None)).offset
            except StoreUnavailable as error:
                outcomes[name] = error

        async with trio.open_nursery() as nursery:
            async with busy(store._writer):
                for name in "abc":
                    # A lone surrogate: the door refuses it; here it stands for whatever cannot be stored.
                    nursery.start_soon(accept, name, message("m", "\ud800" if name == "b" else "hi"))
        assert (outcomes["a"], outcomes["c"]) == (1, 1)
        assert isinstance(outcomes["b"], StoreUnavailable)
        assert isinstance(outcomes["b"].__cause__, UnicodeEncodeError)
        assert await store.load("b") is None
        assert store.trouble is None
        assert await store.count() == 2


async def test_what_waits_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_items=3) as store:
        async with trio.open_nursery() as nursery:
            async with busy(store._writer):
                for name in "ab":
                    nursery.start_soon(store.accept, header(name), message("m"), b"1", None)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(Overloaded) as refused:
                    await store.accept(header("c"), message("m"), b"1", None)
                assert refused.value.retry_after
        assert await store.count() == 2
        assert (await store.accept(header("c"), message("m"), b"1", None)).new


async def test_a_change_that_was_handed_over_is_made_although_its_caller_is_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        offsets = []

        async def accept() -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                offsets.append(await store.accept(header("a"), message("m"), b"1", TURN))
                await trio.sleep_forever()

        scopes: list[trio.CancelScope] = []
        async with trio.open_nursery() as nursery:
            async with busy(store._writer):
                nursery.start_soon(accept)
                await trio.testing.wait_all_tasks_blocked()
                scopes[0].cancel()
                await trio.testing.wait_all_tasks_blocked()
                assert offsets == []
        assert offsets == [(1, True, True)]
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.accept(header("b"), message("m"), b"1", TURN)
        assert await store.count() == 1


async def test_a_reader_that_is_cancelled_goes_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m"), b"1", None)
        async with busy(store._reader):
            with trio.move_on_after(0.05) as scope:
                await store.load("a")
            assert scope.cancelled_caught
        assert await store.load("a") is not None


async def test_closing_finishes_what_was_asked(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        async with opened(tmp_path) as store:
            for number in range(600):  # more than one group
                nursery.start_soon(store.accept, header(f"c{number}"), message("m"), b"1", None)
            await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.count()
    async with opened(tmp_path) as store:
        assert await store.count() == 600


# --- What nobody foresaw --------------------------------------------------------------------------------------------


async def test_one_operation_that_panics_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with impatient(tmp_path, monkeypatch) as (store, writer):
        refusals = []

        async def panics() -> None:
            with pytest.raises(StoreUnavailable) as caught:
                await writer.ask(bug)
            refusals.append(caught.value.__cause__)

        async with trio.open_nursery() as nursery:
            async with busy(writer):
                nursery.start_soon(store.accept, header("a"), message("m"), b"1", None)
                nursery.start_soon(panics)
                nursery.start_soon(store.accept, header("b"), message("m"), b"1", None)
        assert [type(cause) for cause in refusals] == [Panic]
        assert await store.count() == 2
        assert store.trouble is None


async def test_a_failure_that_fails_again_is_told_to_all_and_the_thread_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare_rig: Any
) -> None:
    rig = bare_rig()
    async with impatient(tmp_path, monkeypatch) as (store, writer):
        monkeypatch.setattr(writer, "_log", rig.telemetry.log)
        refusals: list[StoreUnavailable] = []

        async def accept(name: str, text: str) -> None:
            with pytest.raises(StoreUnavailable) as caught:
                await store.accept(header(name), message("m", text), b"1", None)
            refusals.append(caught.value)

        async with trio.open_nursery() as nursery:
            async with busy(writer):
                monkeypatch.setattr(writer, "_suffer", bug)
                monkeypatch.setattr(writer, "_probe", lambda: None)
                for name in "abc":
                    nursery.start_soon(accept, name, "\ud800" if name == "b" else "hi")
        assert len(refusals) == 3
        assert all(refusal.retry_after for refusal in refusals)
        assert store.trouble == UNFORESEEN
        [line] = rig.logged()
        assert (line["event"], line["reason"]) == ("store_in_trouble", UNFORESEEN)
        assert line["exception"][0]["exc_type"] == "Panic"
        assert await store.count() == 0
        assert (await store.accept(header("a"), message("m"), b"1", None)).offset == 1
        assert store.trouble is None


async def test_a_reader_that_fails_again_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with impatient(tmp_path, monkeypatch) as (store, _):
        reader: Any = store._reader
        with monkeypatch.context() as patched:
            patched.setattr(reader, "_suffer", bug)
            with pytest.raises(StoreUnavailable):
                await reader.ask(bug)
        assert store.trouble == UNFORESEEN
        assert await store.count() == 0
        assert store.trouble is None


async def test_what_was_committed_is_acknowledged_although_the_log_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute:
        info = error = bug

    async with impatient(tmp_path, monkeypatch) as (store, writer):
        with monkeypatch.context() as patched:
            patched.setattr(writer, "_log", Mute())
            writer.trouble = "so that there is a recovery to log"
            assert (await store.accept(header("a"), message("m"), b"1", None)).offset == 1
            assert store.trouble == UNFORESEEN
        await recovered(store)
        assert (await store.read("a")).last == 1


async def test_what_fails_between_groups_is_told_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with impatient(tmp_path, monkeypatch) as (store, writer):
        with monkeypatch.context() as patched:
            patched.setattr(writer, "_notice_erasures", bug)
            await store.accept(header("a"), message("m"), b"1", None)
            while store.trouble != UNFORESEEN:  # noqa: ASYNC110  another thread meets it, by itself
                await trio.sleep(0.001)
        await recovered(store)
        assert (await store.accept(header("a"), message("n"), b"1", None)).offset == 2


async def test_tidying_that_fails_is_not_tried_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fail() -> bool:
        tried.append(1)
        raise ValueError("a fault of its own")

    async with impatient(tmp_path, monkeypatch) as (store, writer):
        monkeypatch.setattr(writer, "_tidy", fail)
        writer.litter()
        await store.accept(header("a"), message("m"), b"1", None)
        await trio.sleep(0.2)
        assert len(tried) <= 2
        assert store.trouble is None


async def test_what_could_not_be_rolled_back_is_not_committed_with_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def left_behind() -> Iterator[None]:
        writer._connection.execute(writer.begin)
        yield
        raise Panic("in the middle of rolling back")

    async with impatient(tmp_path, monkeypatch) as (store, writer):
        with monkeypatch.context() as patched:
            patched.setattr(writer, "_transaction", left_behind)
            with pytest.raises(StoreUnavailable):
                await store.accept(header("a"), message("m"), b"1", None)
        assert (await store.accept(header("b"), message("m"), b"1", None)).offset == 1
        assert await store.load("a") is None


# --- The disk -------------------------------------------------------------------------------------------------------


async def fill(store: SqliteStore) -> tuple[int, StoreUnavailable]:
    """Goes on in conversation "a", which has one event, until that fails; how many it has then, and the error."""
    acknowledged = 1
    while True:
        try:
            await store.accept(header("a"), message(f"m{acknowledged}", "x" * 5_000), b"1", None)
        except StoreUnavailable as error:
            return acknowledged, error
        acknowledged += 1


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """No file of this process grows beyond ``size``: the system refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_write_that_the_system_refuses(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m0"), b"1", TURN)
        with files_no_larger_than((tmp_path / "csgate.db-wal").stat().st_size + 10_000):
            acknowledged, refusal = await fill(store)
            assert refusal.code == "overloaded"
            assert "fails" in (store.trouble or "")
            assert (await store.read("a")).last == acknowledged
            # What is there can still be read, and is not told to be unsaved.
            assert (await store.recall("a", "m0")).outcome == "open"
        await recovered(store)  # by itself: nobody is sent here meanwhile
        assert (await store.accept(header("a"), message("later"), b"1", None)).offset == acknowledged + 1


async def test_a_full_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m0"), b"1", None)
        await pragma(store, "max_page_count = 40")
        acknowledged, _ = await fill(store)
        assert "full" in (store.trouble or "")
        for _ in range(20):  # it is found to be full as long as it is
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(StoreUnavailable):
                await store.accept(header("a"), message("again", "x" * 50_000), b"1", None)
        await pragma(store, "max_page_count = 100000")
        await recovered(store)
        assert (await store.accept(header("a"), message("later"), b"1", None)).offset == acknowledged + 1
    async with opened(tmp_path) as store:
        page = await store.read("a")
        assert [event.offset for event in page.events] == list(range(1, acknowledged + 2))


async def test_a_final_event_is_stored_once_that_can_be_done(tmp_path: Path, bare_rig: Any, ann: Principal) -> None:
    rig = bare_rig()
    sink = rig.recorder()
    async with opened(tmp_path) as store:
        async with open_conversations(store, rig.answer, SessionSettings(), rig.telemetry) as conversations:
            attachment = await conversations.attach(ann, sink)
            await attachment.submit("a", "sleep 0.05", None)
            with files_no_larger_than((tmp_path / "csgate.db-wal").stat().st_size):
                with pytest.raises(StoreUnavailable):
                    await attachment.submit("b", "hi", None)
                assert conversations.trouble is not None
                while not any(line["event"] == "not_stored_yet" for line in rig.logged()):  # noqa: ASYNC110
                    await trio.sleep(0.01)
                assert conversations.open_turns == 1
                assert not sink.of(ReplyEvent)
            assert (await sink.wait(ReplyEvent)).offset == 2
            assert (await attachment.submit("b", "hi", None)).offset == 3
            await sink.wait(ReplyEvent, count=2)
    assert not sink.of(ErrorEvent)


# --- The file -------------------------------------------------------------------------------------------------------


async def test_locked_by_another_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m"), b"1", None)
        await store._writer.ask(lambda ledger: ledger.connection.execute("PRAGMA busy_timeout = 50"))
        with closing(sqlite3.connect(tmp_path / "csgate.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.accept(header("a"), message("n"), b"1", None)
            assert "locked" in (store.trouble or "")
            assert await store.load("a") is not None
            other.execute("ROLLBACK")
        assert (await store.accept(header("a"), message("n"), b"1", None)).offset == 2
        assert store.trouble is None


async def test_a_damaged_page_costs_those_whose_page_it_is(tmp_path: Path) -> None:
    file = tmp_path / "csgate.db"
    async with opened(tmp_path) as store:
        for number in range(30):
            await store.accept(header(f"c{number}"), message("m", f"text-of-{number}-" * 200), b"1", None)
    data = bytearray(file.read_bytes())
    page = data.index(b"text-of-13-") // 4096 * 4096
    data[page : page + 8] = b"\xff" * 8
    file.write_bytes(data)
    async with opened(tmp_path, cache_bytes=0) as store:
        with pytest.raises(StoreUnavailable, match="malformed"):
            await store.read("c13")
        assert store.trouble == DAMAGE
        assert (await store.read("c20")).last == 1
        assert (await store.accept(header("c20"), message("n"), b"1", None)).offset == 2
        assert store.trouble == DAMAGE  # it stays: nobody knows what else is


async def test_an_event_that_is_none(tmp_path: Path) -> None:
    async with opened(tmp_path, cache_bytes=0) as store:
        await store.accept(header("a"), message("m"), b"1", None)
        await store._writer.ask(lambda ledger: ledger.connection.execute("UPDATE events SET body = x'00'"))
        with pytest.raises(StoreUnavailable):
            await store.read("a")
        assert store.trouble == DAMAGE


def other_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        migrate(connection, file)
        connection.execute("PRAGMA user_version = 99")


def no_database(file: Path) -> None:
    file.write_bytes(b"these are not the bytes of a database" * 100)


def a_folder(file: Path) -> None:
    file.mkdir()


def no_lock(file: Path) -> None:
    file.with_name("csgate.db.lock").mkdir()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (other_program, "another program"),
        (newer, "newer csgate"),
        (no_database, "not a database"),
        (a_folder, "cannot be opened"),
        (no_lock, "cannot be made"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, prepare: Any, sentence: str) -> None:
    prepare(tmp_path / "csgate.db")
    with pytest.raises(ConfigError, match=sentence):
        async with opened(tmp_path):
            pass


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        async with opened(tmp_path / "file" / "data"):
            pass


async def test_damage_that_opening_meets(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m"), b"1", None)
    with closing(sqlite3.connect(tmp_path / "csgate.db")) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'conversations_active'").fetchone()[
            0
        ]
    data = bytearray((tmp_path / "csgate.db").read_bytes())
    data[(page - 1) * 4096 : (page - 1) * 4096 + 8] = b"\xff" * 8
    (tmp_path / "csgate.db").write_bytes(data)
    with pytest.raises(ConfigError, match="malformed"):
        async with opened(tmp_path):
            pass


async def test_one_process_a_file(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(ConfigError, match="Another csgate"):
            async with opened(tmp_path):
                pass
    async with open_store(tmp_path, SessionSettings(), Telemetry()) as store:
        assert isinstance(store, SqliteStore)
    assert (tmp_path / "csgate.db").stat().st_mode & 0o777 == 0o600


async def test_memory_leaves_no_file(tmp_path: Path) -> None:
    async with open_store(tmp_path, SessionSettings(store="memory"), Telemetry()) as store:
        assert (await store.accept(header("a"), message("m"), b"1", TURN)).new
    assert os.listdir(tmp_path) == []


async def test_two_read_the_same_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m"), b"1", None)
    async with opened(tmp_path) as store:
        pages = []

        async def read() -> None:
            pages.append(await store.read("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)
        assert pages[0] == pages[1]
        assert pages[0].last == 1


async def test_a_thread_that_does_not_end_is_told_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare_rig: Any
) -> None:
    rig = bare_rig()
    monkeypatch.setattr(sqlite, "CLOSE_S", 0.1)
    go = threading.Event()
    async with open_sqlite_store(tmp_path, SessionSettings(), rig.telemetry) as store:
        asked = store._reader.ask
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked, lambda _: go.wait(20))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in rig.logged()] == ["store_stuck"]
    go.set()


async def test_tidying_that_fails_is_tried_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m", "x" * 100_000), b"1", None)
        writer: Any = store._writer
        tidy, failures = writer._tidy, [ValueError("a bug")]

        def fails_once() -> bool:
            if failures:
                raise failures.pop()
            return bool(tidy())

        writer._tidy = fails_once
        assert await store.prune((), now="~", before="~", at_most=1) == 1
        while await store._writer.ask(  # noqa: ASYNC110  another thread does it, by itself
            lambda ledger: ledger.connection.execute("SELECT count(*) FROM garbage").fetchone()[0]
        ):
            await trio.sleep(0.01)
        assert failures == []
        assert store.trouble is None


# --- The schema -----------------------------------------------------------------------------------------------------


def made_by(version: int, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        migrate(connection, file, MIGRATIONS[:version])
        connection.execute("INSERT INTO conversations VALUES (7, 'c', 'e', 'i', 't', 'ann', 1, 1, 'then', 5, NULL)")
        body = b'{"type":"message","id":"m","offset":1,"author":"customer","text":"hi","timestamp":"then"}'
        connection.execute("INSERT INTO events VALUES (7, 1, 'm', x'31', 3, ?)", (body,))


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS) + 1))
async def test_a_file_of_every_earlier_version_is_lifted(tmp_path: Path, version: int) -> None:
    made_by(version, tmp_path / "csgate.db")
    async with opened(tmp_path) as store:
        assert (await store.load("c")).header == Header("c", "e", "i", "t", "ann")
        assert (await store.read("c")).events == (MessageEvent("m", 1, "customer", "hi", "then"),)
        assert (await store.accept(header("d"), message("m"), b"1", None)).new
    assert open_reader(tmp_path / "csgate.db").execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


async def test_a_migration_happens_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "csgate.db"
    made_by(1, file)
    broken = (*MIGRATIONS[:1], ("CREATE TABLE more (a TEXT)", "this is no SQL"))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.Error):
            migrate(connection, file, broken)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'more'").fetchone() is None


def test_a_reader_wants_the_newest_schema(tmp_path: Path) -> None:
    file = tmp_path / "csgate.db"
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_reader(file)
    no_database(file)
    with pytest.raises(ConfigError, match="not a database"):
        open_reader(file)
    file.unlink()
    newer(file)
    with pytest.raises(ConfigError, match="newer csgate"):
        open_reader(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 0")
    with pytest.raises(ConfigError, match="older schema"):
        open_reader(file)


# --- Forgetting -----------------------------------------------------------------------------------------------------


async def test_what_is_forgotten_is_deleted_bit_by_bit_and_its_room_given_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(store.accept, header("big"), message(f"m{number}", "x" * 80_000), b"1", None)
        await store.accept(header("small"), message("m"), b"1", None)
        assert await store.prune({"small"}, now="~", before="~", at_most=5) == 1
        assert await store.load("big") is None

        def left(ledger: Ledger) -> int:
            execute = ledger.connection.execute
            (garbage,) = execute("SELECT count(*) FROM garbage").fetchone()
            (pages,) = execute("PRAGMA page_count").fetchone()
            return garbage + max(0, pages - 400)

        while await store._writer.ask(left):  # noqa: ASYNC110  another thread does it, by itself
            await trio.sleep(0.01)
        assert await store.count() == 1
        assert (await store.read("small")).last == 1
    assert (tmp_path / "csgate.db").stat().st_size < 2_000_000


async def test_nobody_comes_back_to_what_is_being_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.accept(header("a"), message("m"), b"1", None)
        async with trio.open_nursery() as nursery:
            async with busy(store._writer):
                nursery.start_soon(lambda: store.prune((), now="~", before="~", at_most=1))
                while not store._leaving:  # noqa: ASYNC110  another thread finds it
                    await trio.sleep(0.001)
                assert await store.load("a") is None
                # Another sweep leaves it to the first.
                assert await store.prune((), now="~", before="~", at_most=1) == 0
        assert await store.count() == 0


async def test_another_process_erased_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        told: list[str] = []
        store.listen(told.extend)
        await store.accept(header("a"), message("m"), b"1", TURN)
        with closing(sqlite3.connect(tmp_path / "csgate.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO garbage SELECT key FROM conversations WHERE id = 'a'")
            other.execute("INSERT INTO erased (id) SELECT id FROM conversations WHERE id = 'a'")
            other.execute("DELETE FROM conversations WHERE id = 'a'")
            other.execute("COMMIT")
        with pytest.raises(NotFound):
            await store.accept(header("a"), message("n"), b"1", TURN)
        assert await store.finish(header("a"), "m", ErrorEvent("internal", "", "", id="m")) is None
        while told != ["a"]:  # noqa: ASYNC110  another thread notices, by itself
            await trio.sleep(0.01)
        assert await store.read("a") is None
