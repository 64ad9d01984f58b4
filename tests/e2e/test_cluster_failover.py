"""The Python client when the node that answers it is killed; ``make bench-failover`` does the same many times."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ..redis_server import RedisServer
from .cluster import QUICK_LEASE, Babbler, read_redis_logs, three_nodes
from .failovers import fail_over

LEASE_S = 1.0
SLACK_S = 3.0


@pytest.fixture
def babbler() -> Iterator[Babbler]:
    running = Babbler(pieces=20)
    yield running
    running.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


async def test_a_client_has_its_whole_answer_from_another_node(
    babbler: Babbler, redis: RedisServer, tmp_path: Path
) -> None:
    """First with one connection and three nodes, then with a second connection and the two that are left."""

    with three_nodes(tmp_path, redis, **QUICK_LEASE, **babbler.environment) as (one, two, three):
        moved = await fail_over([one, two, three], "ann", 7)
        assert moved.text == babbler.text
        assert moved.attempt == 2
        assert not moved.silent
        assert moved.connected < moved.complete < LEASE_S + SLACK_S + babbler.pieces * babbler.pause

        switched = await fail_over([two, three], "bea", 3, standby=True)
        assert switched.text == babbler.text
        assert switched.attempt == 2
        assert switched.silent
        # Not for the lease of the node that is dead: it is a matter of milliseconds, and this machine may be busy.
        assert switched.connected < switched.acknowledged < LEASE_S
        assert switched.complete < LEASE_S + SLACK_S + 2 * babbler.pieces * babbler.pause

        logs = await trio.to_thread.run_sync(read_redis_logs, redis, [moved.conversation, switched.conversation])
    assert [event["type"] for event in logs[moved.conversation]] == ["message", "reply"]
    assert sorted(event["type"] for event in logs[switched.conversation]) == 3 * ["message"] + 3 * ["reply"]
