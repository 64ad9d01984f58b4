"""``kill -9`` in the middle of a load of real clients: what was acknowledged is answered, once."""

import random
import time
from pathlib import Path

from .conftest import SECRET, Server, start_server
from .restarts import Talker, check, read_logs

KILLS = 5
CONVERSATIONS = 12
SEED = 20


def test_killed_five_times_nothing_is_lost_and_nothing_answered_twice(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    server = start_server(tmp_path, CSGATE_INFERENCE__WARM_UP="false")
    running: list[Server] = [server]
    talkers = [
        Talker(f"t{number}", lambda: running[-1].port, server.token(f"customer-{number}"), SEED + number)
        for number in range(CONVERSATIONS)
    ]
    try:
        for talker in talkers:
            talker.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 1.0))
            running[-1].stop(9)
            running.append(start_server(tmp_path, CSGATE_INFERENCE__WARM_UP="false"))
        for talker in talkers:
            talker.finish()
        for talker in talkers:
            talker.join(60)
    finally:
        code = running[-1].stop()
    assert code == 0
    assert [talker.wrong for talker in talkers if talker.wrong] == []
    counts = check(talkers, read_logs(tmp_path / "csgate.db"))
    assert counts["duplicated"] == counts["lost"] == counts["wrong"] == 0
    assert counts["acknowledged"] == counts["answered"] == counts["sent"] > CONVERSATIONS
    assert counts["reconnects"] >= CONVERSATIONS
    assert (tmp_path / "csgate.db").stat().st_mode & 0o777 == 0o600
    assert any(line["event"] == "turns_reopened" for one in running for line in one.log)
    assert SECRET not in "".join(line for one in running for line in one.text)
