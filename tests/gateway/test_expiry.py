import trio

from csgate.gateway.expiry import ExpiryWatch


class Connection:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def token_expiring(self, seconds_left: float) -> None:
        self.heard.append(f"expiring in {seconds_left:.0f}")

    def token_expired(self) -> None:
        self.heard.append("expired")


class Wall:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_told_sixty_seconds_before_and_twenty_five_after() -> None:
    wall, connection = Wall(), Connection()
    watch = ExpiryWatch(wall)
    watch.add(connection, 1_100.0)
    for now, heard in [
        (1_039, []),
        (1_040, ["expiring in 60"]),
        (1_124, ["expiring in 60"]),
        (1_125, ["expiring in 60", "expired"]),
        (9_999, ["expiring in 60", "expired"]),
    ]:
        wall.now = now
        watch.fire()
        assert connection.heard == heard


def test_a_stopped_watch_hears_nothing() -> None:
    wall, connection = Wall(), Connection()
    watch = ExpiryWatch(wall)
    entry = watch.add(connection, 1_100.0)
    watch.stop(entry)
    watch.stop(entry)
    wall.now = 5_000
    watch.fire()
    assert connection.heard == []


def test_stopped_entries_do_not_pile_up() -> None:
    watch = ExpiryWatch(Wall())
    for _ in range(10_000):
        watch.stop(watch.add(Connection(), 99_999.0))
    kept = Connection()
    watch.add(kept, 99_999.0)
    assert len(watch._heap) < 200
    assert any(entry[2].target is kept for entry in watch._heap)


def test_a_token_without_end_is_not_watched() -> None:
    watch = ExpiryWatch(Wall())
    watch.add(Connection(), float("inf"))
    assert watch._heap == []


async def test_the_task_sleeps_until_the_next_one_even_if_it_comes_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first, second = Connection(), Connection()
    watch = ExpiryWatch(trio.current_time)
    watch.add(first, trio.current_time() + 10_000.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(5)
        watch.add(second, trio.current_time() + 100.0)
        await trio.sleep(41)
        assert second.heard == ["expiring in 60"]
        assert first.heard == []
        await trio.sleep(10_000)
        assert first.heard == ["expiring in 60", "expired"]
        nursery.cancel_scope.cancel()
