"""What the page at / costs a browser: ``make bench-page``.

Chromium visits a real ``csgate serve`` as somebody who was never there before, on a desktop without limits and as
Lighthouse's phone (1.6 Mbit/s, 150 ms, a processor four times as slow), and watches an answer being written. Medians of
some visits.
"""

import argparse
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import report
from playwright.sync_api import expect, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.e2e.browser.dictation import Dictation
from tests.e2e.browser.figures import DESKTOP, PHONE, measure, median
from tests.e2e.conftest import start_server

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
NAMES = {
    "first_paint_ms": "first contentful paint, ms",
    "largest_paint_ms": "largest contentful paint, ms",
    "ready_ms": "chat connected, ms",
    "bytes": "bytes transferred",
    "requests": "requests",
    "script_ms": "JavaScript on the main thread, ms",
    "main_thread_ms": "main thread in all, ms",
    "blocked_ms": "of that beyond 50 ms a task, ms",
    "shift_loading": "layout shift while loading",
    "shift_streaming": "layout shift while an answer is written",
}
GOALS = {"bytes": 72 * 1024, "shift_loading": 0.01, "shift_streaming": 0.01}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=5)
    arguments = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("bench_page needs Chromium; on Debian and Ubuntu: apt install chromium", file=sys.stderr)
        return 1
    expect.set_options(timeout=60_000)
    dictation = Dictation()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_server(Path(folder), **dictation.environment)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            measure(browser, server, dictation, DESKTOP)  # the server's first, and the browser's
            visits = {
                profile.name: [measure(browser, server, dictation, profile) for _ in range(arguments.visits)]
                for profile in (DESKTOP, PHONE)
            }
            version = browser.version
        finally:
            browser.close()
            dictation.close()
            server.stop()
    medians = {name: median(found) for name, found in visits.items()}
    print(report.table([(NAMES[key], *(medians[one][key] for one in medians)) for key in NAMES], ["", *medians]))
    path = report.save(
        "page",
        {
            "versions": {"chromium": version, **report.versions("csgate", "playwright")},
            "profiles": [asdict(DESKTOP), asdict(PHONE)],
            "goals": GOALS,
            "medians": medians,
            "visits": {name: [asdict(visit) for visit in found] for name, found in visits.items()},
        },
    )
    print(f"saved to {path}")
    missed = [f"{one}: {key}" for key, goal in GOALS.items() for one in medians if medians[one][key] >= goal]
    for miss in missed:
        print(f"goal missed: {miss}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
