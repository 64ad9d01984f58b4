"""Three nodes on one Redis behind HAProxy, in a load of 100 conversations; nodes are killed, put to sleep for 15 s and
cut off by a Redis that is started anew, at random moments: ``make soak``.

In the end the clients' own records are held against what is in Redis: every acknowledged message has exactly one final
event, none is there twice, offsets have no gap.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.balancers import haproxy
from tests.e2e.cluster import assert_alive, read_redis_logs, start_node, three_nodes
from tests.e2e.restarts import Talker, check
from tests.redis_server import RedisServer

SLEEP_S = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=SLEEP_S, metavar="SECONDS", help="how long a node sleeps")
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    environment = {"CSGATE_SESSION__MAX_EVENTS": "1000000"}
    faults: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer(folder / "redis")
        with three_nodes(folder, redis, **environment) as nodes, haproxy(folder, nodes, "leastconn") as port:
            ports = [node.port for node in nodes]
            every = list(nodes)
            talkers = [
                Talker(f"t{n}", lambda: port, nodes[0].token(f"customer-{n}", 86_400.0), arguments.seed + n)
                for n in range(arguments.conversations)
            ]
            for talker in talkers:
                talker.start()
            until = time.monotonic() + 60 * arguments.minutes
            sleepers: list[threading.Timer] = []
            while time.monotonic() < until:
                time.sleep(chance.uniform(0.5, 6.0))
                fault = chance.choice(("kill", "kill", "pause", "redis"))
                at = chance.randrange(3)
                faults[fault] += 1
                assert_alive(nodes)
                print(f"{time.monotonic() - began:6.1f} s: {fault} {'' if fault == 'redis' else at + 1}", flush=True)
                if fault == "kill":
                    nodes[at].stop(signal.SIGKILL)
                    nodes[at] = start_node(folder, redis, f"node{at + 1}", port=ports[at], **environment)
                    every.append(nodes[at])
                elif fault == "pause":
                    nodes[at].process.send_signal(signal.SIGSTOP)
                    waker = threading.Timer(arguments.pause, nodes[at].process.send_signal, [signal.SIGCONT])
                    waker.start()
                    sleepers.append(waker)
                else:
                    redis.restart()
            for waker in sleepers:
                waker.join()
            for talker in talkers:
                talker.finish()
            for talker in talkers:
                talker.join(240)
            logs = read_redis_logs(redis, [talker.conversation or "" for talker in talkers])
            assert_alive(nodes)
            codes = [node.stop() for node in nodes]
            lines = Counter(line["event"] for node in every for line in node.log)
            size = sum(file.stat().st_size for file in (folder / "redis").rglob("*.aof"))
        redis.kill()
    counts = check(talkers, logs)
    codes_of_errors = Counter(event["code"] for log in logs.values() for event in log if event["type"] == "error")
    wrong = [sentence for talker in talkers for sentence in talker.wrong]
    result = {
        "minutes": arguments.minutes,
        "nodes": 3,
        "conversations": arguments.conversations,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began, 1),
        "nodes_killed": faults["kill"],
        "nodes_put_to_sleep": faults["pause"],
        "sleep_seconds": arguments.pause,
        "redis_killed": faults["redis"],
        **counts,
        "errors_by_code": dict(codes_of_errors),
        "conversations_taken_over": lines["turns_taken_over"],
        "leases_lost": lines["lease_lost"],
        "turns_given_up_after_two_deaths": lines["turn_given_up"],
        "aof_bytes": size,
        "last_exit_codes": codes,
        "what_went_wrong": wrong[:20],
    }
    print(report.table([(key, str(value)) for key, value in result.items()], ("", "")))
    if not arguments.no_save:
        print(f"saved: {report.save('soak_cluster', {'three_nodes_redis': result})}")
    good = not (counts["lost"] or counts["duplicated"] or counts["wrong"] or wrong or any(codes))
    good = good and counts["acknowledged"] == counts["answered"]
    print("nothing lost, nothing twice" if good else "NOT as promised")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
