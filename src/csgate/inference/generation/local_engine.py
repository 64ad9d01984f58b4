"""onnxruntime-genai's Engine as a ``Stepper``: continuous batching over a paged cache on CUDA, static elsewhere.

The Engine may only be used in the thread that made it, and is asked for one step at a time.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from csgate.inference.generation.local_folder import LocalFolder
from csgate.inference.generation.local_step import Step
from csgate.inference.generation.request import Sampling

STATIC_BATCH: Final = 4
"""Answers in a static batch, whatever the configuration says (0.18)."""


class EngineStepper:
    """One Engine over ``model`` (``onnxruntime_genai.Model``)."""

    def __init__(self, runtime: Any, model: Any, folder: LocalFolder, capacity: int) -> None:
        self._runtime = runtime
        self.provider = "CUDAExecutionProvider" if "cuda" in str(model.device_type).lower() else "CPUExecutionProvider"
        self._dynamic = folder.paged
        self._capacity = capacity if self._dynamic else min(capacity, STATIC_BATCH)
        self._top_k = int(folder.genai.get("search", {}).get("top_k") or 0)
        self._ends = folder.ends
        self._engine = runtime.Engine(model)
        self._events = self._engine.create_event_buffer(max(64, 2 * self._capacity))
        self._requests: dict[int, tuple[Any, int]] = {}

    def room(self) -> int:
        if self._dynamic or not self._requests:
            return self._capacity - len(self._requests)
        return 0  # a static batch takes nobody in

    def add(self, key: int, ids: Sequence[int], sampling: Sampling, limit: int) -> None:
        options = self._runtime.RequestOptions()
        options.set_max_session_tokens(len(ids) + limit)
        request = self._engine.create_request(options=options)
        try:
            turn = self._runtime.TurnOptions(request)
            turn.set_max_generated_tokens(limit)
            if sampling.temperature > 0:
                turn.set_do_sample(True)
                turn.set_temperature(sampling.temperature)
                turn.set_top_p(sampling.top_p)
                turn.set_top_k(self._top_k)
                if self._dynamic and sampling.seed is not None:
                    turn.set_seed(sampling.seed % 2**63)
            else:
                turn.set_do_sample(False)
            turn_id = request.begin_turn(np.array(ids, np.int32), turn)
        except BaseException:
            request.close()
            raise
        self._requests[key] = (request, turn_id)

    def remove(self, key: int) -> None:
        known = self._requests.pop(key, None)
        if known is not None:
            request, turn_id = known
            request.cancel_turn(turn_id)
            request.close()

    def step(self) -> list[Step]:
        runtime = self._runtime
        flags = runtime.EngineEventFlags
        steps: list[Step] = []
        keys = {id(request): key for key, (request, _) in self._requests.items()}
        for event in self._engine.run(self._events):
            if event.flags & flags.FAILED and not event.flags & flags.TURN_FINISHED:
                raise RuntimeError(f"the engine failed: {event.error_code}")
            key = keys.get(id(event.request))
            if key is None:
                continue
            token = int(event.token) if event.flags & flags.TOKEN else None
            if not event.flags & flags.TURN_FINISHED:
                if token is not None:
                    steps.append(Step(key, token))
                continue
            steps.append(self._last(key, token, event.finish_reason))
            self._requests.pop(key)[0].close()
        return steps

    def close(self) -> None:
        for key in list(self._requests):
            self.remove(key)
        self._events = None
        self._engine = None

    def _last(self, key: int, token: int | None, reason: Any) -> Step:
        reasons = self._runtime.FinishReason
        if reason in (reasons.EOS, reasons.STOP_STRING):
            return Step(key, None if token in self._ends else token, "stop")
        if reason in (reasons.MAX_GENERATED_TOKENS, reasons.MAX_SESSION_TOKENS):
            return Step(key, token, "length")
        return Step(key, None, "failed")
