"""The progress line: on a terminal alone, not too often, with a bar where the end is known."""

import io

from csgate.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_written_where_nobody_looks() -> None:
    out = io.StringIO()
    progress = Progress(10, out=out)
    progress.advance(10)
    progress.close()
    assert out.getvalue() == ""


def test_a_bar_where_the_end_is_known() -> None:
    out, clock = Terminal(), Clock()
    progress = Progress(200, out=out, clock=clock)
    clock.now = 0.5
    progress.advance(100)
    assert out.getvalue() == f"\r[{'#' * 15}{'.' * 15}]  50%  1 items, 2 items/s\x1b[K"
    clock.now = 0.51
    progress.advance(50)
    assert "75%" not in out.getvalue()  # too soon to draw again
    clock.now = 2.0
    progress.advance(100)
    progress.close()
    assert out.getvalue().endswith(f"\r[{'#' * 30}] 100%  3 items, 2 items/s\x1b[K\n")


def test_a_count_where_it_is_not() -> None:
    out, clock = Terminal(), Clock()
    progress = Progress(None, out=out, clock=clock)
    clock.now = 1.0
    progress.advance(100)
    assert out.getvalue() == "\r1 items, 1 items/s\x1b[K"
