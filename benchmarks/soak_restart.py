"""``kill -9`` of the only node, 50 times at random moments, inside a load of 100 conversations: ``make soak``.

After each death the node is started again on the same file. In the end the clients' own records are held against the
log: every acknowledged message has exactly one final event, none is there twice, offsets have no gap.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.conftest import Server, start_server
from tests.e2e.restarts import Talker, check, read_logs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=3.0, metavar="SECONDS", help="between a start and its kill")
    parser.add_argument("--no-save", action="store_true")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        environment = {"CSGATE_INFERENCE__WARM_UP": "false", "CSGATE_SESSION__MAX_EVENTS": "1000000"}
        running: list[Server] = [start_server(data_dir, **environment)]
        talkers = [
            Talker(f"t{n}", lambda: running[-1].port, running[0].token(f"customer-{n}", 86_400.0), arguments.seed + n)
            for n in range(arguments.conversations)
        ]
        starts: list[float] = []
        reopened = given_up = 0
        for talker in talkers:
            talker.start()
        for kill in range(arguments.kills):
            time.sleep(chance.uniform(0.1, arguments.longest))
            running[-1].stop(9)
            at = time.monotonic()
            running.append(start_server(data_dir, **environment))
            starts.append(time.monotonic() - at)
            print(f"kill {kill + 1}: again after {starts[-1]:.1f} s", flush=True)
        for talker in talkers:
            talker.finish()
        for talker in talkers:
            talker.join(180)
        code = running[-1].stop()
        for server in running:
            reopened += sum(line["turns"] for line in server.log if line["event"] == "turns_reopened")
            given_up += sum(line["event"] == "turn_given_up" for line in server.log)
        counts = check(talkers, read_logs(data_dir / "csgate.db"))
        size = (data_dir / "csgate.db").stat().st_size
    wrong = [sentence for talker in talkers for sentence in talker.wrong]
    result = {
        "kills": arguments.kills,
        "conversations": arguments.conversations,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - began, 1),
        **counts,
        "turns_run_again": reopened,
        "turns_given_up_after_two_deaths": given_up,
        "start_seconds_median": round(report.percentile(starts, 0.5), 2),
        "file_bytes": size,
        "last_exit_code": code,
        "what_went_wrong": wrong[:20],
    }
    print(report.table([(key, str(value)) for key, value in result.items()], ("", "")))
    if not arguments.no_save:
        print(f"saved: {report.save('soak', {'single_node_sqlite': result})}")
    good = not (counts["lost"] or counts["duplicated"] or counts["wrong"] or wrong or code)
    good = good and counts["acknowledged"] == counts["answered"]
    print("nothing lost, nothing twice" if good else "NOT as promised")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
