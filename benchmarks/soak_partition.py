"""Three nodes on one Redis in a load of 100 conversations; each node in its turn is cut off from Redis for 30 s, its
connections blocked and not closed: ``make soak``.

What must be true: while it is cut off, a node acknowledges nothing and ends no answer, says at ``/readyz`` that it is
not well, and comes back by itself; what it had begun is answered by another; and in the end, by the clients' own
records and by what is in Redis, every acknowledged message has exactly one final event.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import report

sys.path.insert(0, str(Path(__file__).parents[1]))


from tests.e2e.balancers import haproxy
from tests.e2e.cluster import Babbler, assert_alive, read_redis_logs, start_node
from tests.e2e.conftest import Server
from tests.e2e.restarts import Talker, check
from tests.redis_server import RedisServer
from tests.redis_wire import open_wires

NODES: Final = 3
# What Redis had answered before the cut may still be on its way to a client.
SLACK_S: Final = 0.5
PATIENCE_S: Final = 30.0


class Watched(Talker):
    """Notes when it heard of an acknowledgement or a final event for the first time."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.heard: list[float] = []

    def _take(self, event: Any) -> None:
        known = len(self.acks) + len(self.finals)
        super()._take(event)
        if len(self.acks) + len(self.finals) > known:
            self.heard.append(time.monotonic())

    def between(self, since: float, until: float) -> int:
        return sum(since < at < until for at in self.heard)


def until_ready(node: Server, wanted: int, since: float) -> float:
    """Seconds from ``since`` until ``/readyz`` says ``wanted``."""
    while node.status("/readyz")[0] != wanted:
        assert time.monotonic() - since < PATIENCE_S, f"no {wanted} from /readyz"
        time.sleep(0.02)
    return time.monotonic() - since


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each node is cut off")
    parser.add_argument("--between", type=float, default=8.0, metavar="SECONDS", help="before, between and after")
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    # Answers take half a second, so that a node has some in progress whenever it is cut off.
    babbler = Babbler(pieces=10, pause=0.05)
    environment = {"CSGATE_SESSION__MAX_EVENTS": "1000000", **babbler.environment}
    cuts: list[dict[str, Any]] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer(folder / "redis")
        nodes: list[Server] = []
        try:
            with open_wires(redis.port, NODES) as wires, ThreadPoolExecutor(NODES) as pool:

                def start(at: int) -> Server:
                    url = f"redis://127.0.0.1:{wires.ports[at]}/0"
                    return start_node(folder, redis, f"node{at + 1}", **environment, CSGATE_REDIS__URL=url)

                nodes += pool.map(start, range(NODES))
                with haproxy(folder, nodes, "leastconn") as port:
                    token = {n: nodes[0].token(f"customer-{n}", 86_400.0) for n in range(arguments.conversations)}
                    # A tenth at each node, whatever happens to it; the others where the balancer sends them.
                    ports = [node.port for node in nodes] + [port] * 7
                    talkers = [
                        Watched(f"t{n}", lambda n=n: ports[n % 10], token[n], arguments.seed + n)
                        for n in range(arguments.conversations)
                    ]
                    for talker in talkers:
                        talker.start()
                    for at in range(NODES):
                        time.sleep(arguments.between)
                        there = [talker for n, talker in enumerate(talkers) if n % 10 == at]
                        elsewhere = [talker for n, talker in enumerate(talkers) if n % 10 != at]
                        wires.block(at)
                        cut = time.monotonic()
                        unready = until_ready(nodes[at], 503, cut)
                        time.sleep(max(0.0, cut + arguments.seconds - time.monotonic()))
                        mended = time.monotonic()
                        wires.open(at)
                        ready = until_ready(nodes[at], 200, mended)
                        while not any(talker.between(mended, time.monotonic()) for talker in there):
                            assert time.monotonic() - mended < PATIENCE_S, "it does not come back"
                            time.sleep(0.01)
                        again = min(when for talker in there for when in talker.heard if when > mended) - mended
                        cuts.append(
                            {
                                "node": at + 1,
                                "seconds": round(mended - cut, 1),
                                "not_ready_after_s": round(unready, 2),
                                "acknowledged_or_ended_by_it_meanwhile": sum(
                                    talker.between(cut + SLACK_S, mended) for talker in there
                                ),
                                "acknowledged_or_ended_by_the_others": sum(
                                    talker.between(cut + SLACK_S, mended) for talker in elsewhere
                                ),
                                "ready_again_after_s": round(ready, 2),
                                "acknowledges_again_after_s": round(again, 2),
                            }
                        )
                        print(cuts[-1], flush=True)
                    time.sleep(arguments.between)
                    for talker in talkers:
                        talker.finish()
                    for talker in talkers:
                        talker.join(240)
                    logs = read_redis_logs(redis, [talker.conversation or "" for talker in talkers])
                assert_alive(nodes)
                codes = [node.stop() for node in nodes]
        except BaseException:
            assert_alive(nodes)
            raise
        finally:
            for node in nodes:
                if node.process.poll() is None:
                    node.process.kill()
                    node.wait(10)
            redis.kill()
            babbler.close()
    counts = check(list(talkers), logs)
    lines = Counter(line["event"] for node in nodes for line in node.log)
    wrong = [sentence for talker in talkers for sentence in talker.wrong]
    result = {
        "nodes": NODES,
        "conversations": arguments.conversations,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began, 1),
        **counts,
        "errors_by_code": dict(Counter(e["code"] for log in logs.values() for e in log if e["type"] == "error")),
        "conversations_taken_over": lines["turns_taken_over"],
        "leases_lost": lines["lease_lost"],
        "last_exit_codes": codes,
        "what_went_wrong": wrong[:20],
    }
    print(report.table([(key, str(value)) for key, value in result.items()], ("", "")))
    if not arguments.no_save:
        print(f"saved: {report.save('soak_partition', {**result, 'cuts': cuts})}")
    good = not (counts["lost"] or counts["duplicated"] or counts["wrong"] or wrong or any(codes))
    good = good and counts["acknowledged"] == counts["answered"]
    good = good and not any(cut["acknowledged_or_ended_by_it_meanwhile"] for cut in cuts)
    print("nothing lost, nothing twice, nothing said without Redis" if good else "NOT as promised")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
