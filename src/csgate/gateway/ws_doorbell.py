"""A wake-up for one task, lighter than ``trio.Event``: a task that only waits keeps nothing but itself."""

import trio


class Doorbell:
    """``ring`` wakes the one task in ``wait``, or lets the next ``wait`` return at once. Rings do not add up."""

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._rung = False
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        """Never blocks."""
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)
        else:
            self._rung = True

    async def wait(self) -> None:
        """A checkpoint.

        Raises:
            trio.BusyResourceError: another task waits already.
        """
        if self._task is not None:
            raise trio.BusyResourceError("another task waits at this doorbell")
        if self._rung:
            self._rung = False
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
