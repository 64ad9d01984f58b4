"""What a shared Redis costs: acknowledgements a second and how long one takes, without a model, against the store in
memory: ``make bench-cluster``. The load is that of ``bench_store.py``; Redis runs on this machine and takes its share.
"""

import argparse
import gc
import io
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import bench_store
import report
import trio
from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.redis_server import RedisServer

from csgate.cluster import open_cluster
from csgate.config import Config, RedisSettings, SessionSettings
from csgate.gateway.process import GC_THRESHOLDS
from csgate.session import Conversations, open_conversations
from csgate.telemetry import Telemetry, open_logger

GOAL_OVER_MEMORY_MS: Final = 2.0


def shared(url: str) -> Any:
    """In place of ``bench_store.opened``: conversations in the Redis at ``url``."""

    @asynccontextmanager
    async def opened(folder: Path, **chosen: Any) -> AsyncIterator[Conversations]:
        config = Config(
            session=SessionSettings(store="redis", max_events=1_000_000, max_conversations=1_000_000),
            redis=RedisSettings(url=SecretStr(url), accept_loss=True),
        )
        telemetry = Telemetry(log=open_logger("error", stream=io.StringIO()))
        async with (
            open_cluster(config, telemetry) as cluster,
            open_conversations(cluster.store, bench_store.answer, config.session, telemetry) as conversations,
        ):
            yield conversations

    return opened


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", help="saved with the result: what else the machine was doing")
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    # As a node that serves does, once it has started.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    in_memory = bench_store.opened
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = {how: RedisServer(folder / how, "--appendfsync", how) for how in ("always", "everysec")}
        try:
            for _ in range(arguments.rounds):
                for kind in ("acks", "answered"):
                    for store in ("memory", "redis always", "redis everysec"):
                        how = store.rpartition(" ")[2]
                        bench_store.opened = in_memory if store == "memory" else shared(servers[how].url)
                        settings = {"store": "memory"} if store == "memory" else {}

                        async def run(kind: str = kind, settings: dict[str, str] = settings) -> dict[str, float]:
                            return await bench_store.load(
                                folder, arguments.conversations, arguments.seconds, kind == "answered", **settings
                            )

                        runs.setdefault(f"{kind}, {store}", []).append(trio.run(run))
        finally:
            for server in servers.values():
                server.kill()
        fsync_ms = bench_store.fsync_ms(folder)
    # The median run by rate.
    results = {name: sorted(some, key=lambda one: one["acks_per_s"])[len(some) // 2] for name, some in runs.items()}
    names = list(next(iter(results.values())))
    print(report.table([(name, *(f"{one[key]:.2f}" for key in names)) for name, one in results.items()], ("", *names)))
    over = results["acks, redis everysec"]["ack_p50_ms"] - results["acks, memory"]["ack_p50_ms"]
    print(f"Redis everysec over memory, p50: {over:.2f} ms (goal: at most {GOAL_OVER_MEMORY_MS})")
    print(f"one fsync of a page: {fsync_ms:.2f} ms")
    if not arguments.no_save:
        body = {
            "conversations": arguments.conversations,
            "seconds": arguments.seconds,
            "rounds": arguments.rounds,
            "note": arguments.note,
            "fsync_ms": fsync_ms,
            "redis_everysec_over_memory_p50_ms": over,
            "goal_met": over <= GOAL_OVER_MEMORY_MS,
            **results,
        }
        print(f"saved: {report.save('bench_cluster', body)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
