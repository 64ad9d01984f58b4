"""Clients that never give up, behind HAProxy, while nodes are killed and put to sleep and Redis is started anew."""

import signal
import time
from pathlib import Path

from ..redis_server import RedisServer
from .balancers import haproxy
from .cluster import QUICK_LEASE, read_redis_logs, start_node, three_nodes
from .restarts import Talker, check

CONVERSATIONS = 12
SEED = 30


def test_through_everything_nothing_is_lost_and_nothing_answered_twice(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    try:
        with three_nodes(tmp_path, redis, **QUICK_LEASE) as nodes, haproxy(tmp_path, nodes, "leastconn") as port:
            talkers = [
                Talker(f"t{number}", lambda: port, nodes[0].token(f"customer-{number}"), SEED + number)
                for number in range(CONVERSATIONS)
            ]
            for talker in talkers:
                talker.start()
            time.sleep(0.7)
            nodes[1].process.send_signal(signal.SIGSTOP)
            time.sleep(1.7)
            nodes[1].process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            nodes[0].stop(signal.SIGKILL)
            time.sleep(0.3)
            redis.restart()
            time.sleep(0.5)
            # At another address: HAProxy has two nodes from now on, the cluster three.
            nodes[0] = start_node(tmp_path, redis, "node1", **QUICK_LEASE)
            redis.restart()
            for talker in talkers:
                talker.finish()
            for talker in talkers:
                talker.join(60)
            assert [talker.wrong for talker in talkers if talker.wrong] == []
            logs = read_redis_logs(redis, [talker.conversation or "" for talker in talkers])
            assert [node.stop() for node in nodes] == [0, 0, 0]
    finally:
        redis.kill()
    counts = check(talkers, logs)
    assert counts["duplicated"] == counts["lost"] == counts["wrong"] == 0
    assert counts["acknowledged"] == counts["answered"] == counts["sent"] > CONVERSATIONS
    assert counts["reconnects"] > 0
