"""Real servers that die, and whose disk fails: what was acknowledged is answered, once."""

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .conftest import SECRET, Server, start_server
from .raw import ask, open_v1
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


def test_a_disk_that_takes_nothing_more(own_server: Callable[..., Server]) -> None:
    """Messages are refused, /readyz says why, nothing is acknowledged that is not stored; then all goes on."""
    server = own_server(CSGATE_INFERENCE__WARM_UP="false")
    client, welcome = open_v1(server)
    with client:
        assert ask(client, "before", "Where is my order 12345?")["type"] == "reply"
        # As on a full disk, the system refuses every write that would make a file larger than this.
        unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        client.send_json({"type": "message", "id": "refused", "text": "hello?"})
        refusal = client.expect("ack", "reply", "error")
        assert (refusal["type"], refusal["code"], refusal["retry_after"]) == ("error", "overloaded", 2.0)
        status, body = server.status("/readyz")
        assert status == 503
        assert json.loads(body)["reasons"] == ["conversations cannot be stored: reading or writing their file fails"]
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
        until = time.monotonic() + 20
        while server.status("/readyz")[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert ask(client, "refused", "hello?")["type"] == "reply"
    assert server.stop(9) == -9
    events = read_logs(server.data_dir / "csgate.db")[welcome["conversation"]]
    assert [(event["type"], event["id"]) for event in events if event["type"] != "state"] == [
        ("message", "before"),
        ("reply", "before"),
        ("message", "refused"),
        ("reply", "refused"),
    ]


def test_two_servers_on_one_file(own_server: Callable[..., Server]) -> None:
    server = own_server(CSGATE_INFERENCE__WARM_UP="false")
    second = subprocess.run(
        [sys.executable, "-m", "csgate", "serve", "--port", "0", "--data-dir", str(server.data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert "Another csgate serves from" in second.stderr.splitlines()[-1]
    assert "Traceback" not in second.stderr
