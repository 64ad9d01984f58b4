"""``csgate serve`` with a stopwatch on its event loop: what ``bench_media.py`` runs.

Prints ``listening on HOST:PORT``. Each line on standard input is answered with a JSON line: for how long, at worst, the
loop was kept from its sockets since the line before (ms), and by a step of which task; and how many were too long.
"""

import gc
import json
import sys
import time
from collections import Counter
from typing import Any

import trio

from csgate.config import load_config
from csgate.gateway.node import Node, run_node
from csgate.gateway.process import calm_allocator
from csgate.telemetry import Metrics, Telemetry, open_logger

TOO_LONG_MS = 20.0


class Stopwatch(trio.abc.Instrument):
    """Times every step of a task, and every pass of the loop between two looks at its sockets.

    Beside the wall clock the thread's own processor time is taken: on a machine with more to do than cores, the rest
    is the time that others had.
    """

    def __init__(self) -> None:
        self.reset()
        self._collection_began = 0.0
        self._pass_began = time.perf_counter()
        self._step_began = self._pass_began
        self._busy_began = self._step_busy = time.thread_time()

    def reset(self) -> None:
        self.passes = 0
        self.too_long = 0
        self.worst_pass_ms = 0.0
        self.worst_pass_steps: dict[str, int] = {}
        self._steps: list[str] = []
        self.worst_busy_ms = 0.0
        self.worst_step_ms = 0.0
        self.worst_task = ""
        self.busiest_step_ms = 0.0
        self.busiest_task = ""
        self.worst_collection_ms = 0.0
        self.worst_generation = 0

    def collector(self, phase: str, info: dict[str, int]) -> None:
        """For ``gc.callbacks``. A collection stops every thread."""
        if phase == "start":
            self._collection_began = time.perf_counter()
            return
        took = (time.perf_counter() - self._collection_began) * 1e3
        if took > self.worst_collection_ms:
            self.worst_collection_ms, self.worst_generation = took, info["generation"]

    def after_io_wait(self, timeout: float) -> None:
        self._steps = []
        self._pass_began = time.perf_counter()
        self._busy_began = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        took = (time.perf_counter() - self._pass_began) * 1e3
        self.passes += 1
        if took > self.worst_pass_ms:
            self.worst_pass_ms, self.worst_pass_steps = took, dict(Counter(self._steps).most_common(4))
        self.worst_busy_ms = max(self.worst_busy_ms, (time.thread_time() - self._busy_began) * 1e3)
        self.too_long += took > TOO_LONG_MS

    def before_task_step(self, task: Any) -> None:
        self._steps.append(task.name)
        self._step_began = time.perf_counter()
        self._step_busy = time.thread_time()

    def after_task_step(self, task: Any) -> None:
        took = (time.perf_counter() - self._step_began) * 1e3
        if took > self.worst_step_ms:
            self.worst_step_ms, self.worst_task = took, task.name
        busy = (time.thread_time() - self._step_busy) * 1e3
        if busy > self.busiest_step_ms:
            self.busiest_step_ms, self.busiest_task = busy, task.name

    def told(self) -> dict[str, Any]:
        """What was found since the last time."""
        found = {
            "passes": self.passes,
            "too_long": self.too_long,
            "worst_pass_ms": round(self.worst_pass_ms, 2),
            "worst_pass_steps": self.worst_pass_steps,
            "worst_busy_ms": round(self.worst_busy_ms, 2),
            "worst_step_ms": round(self.worst_step_ms, 2),
            "worst_task": self.worst_task,
            "busiest_step_ms": round(self.busiest_step_ms, 2),
            "busiest_task": self.busiest_task,
            "worst_collection_ms": round(self.worst_collection_ms, 2),
            "worst_collection_generation": self.worst_generation,
        }
        self.reset()
        return found


async def serve() -> None:
    config = load_config()
    stopwatch = Stopwatch()
    async with trio.open_nursery() as nursery:
        telemetry = Telemetry(Metrics(), open_logger(config.log.level, config.log.format))
        node: Node = await nursery.start(run_node, config, telemetry)
        print(f"listening on {node.address[0]}:{node.address[1]}", flush=True)
        trio.lowlevel.add_instrument(stopwatch)
        gc.callbacks.append(stopwatch.collector)
        while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print(json.dumps(stopwatch.told()), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    calm_allocator()
    trio.run(serve)
