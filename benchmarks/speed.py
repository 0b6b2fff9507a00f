"""Speed and cost, measured: each figure beside its target; `python -m benchmarks.speed` prints and records them."""

import argparse
import datetime as dt
from collections.abc import Callable

from benchmarks import (
    backfill,
    dashboard_page,
    everything,
    ingest,
    ledger,
    live,
    slots,
    start,
    streams,
)
from benchmarks.report import Result, as_markdown, record

BENCHMARKS: dict[str, Callable[[], Result]] = {
    "P1": ingest.p1,
    "P2": everything.p2,
    "P3": everything.p3,
    "P4": backfill.p4,
    "P5": live.p5,
    "P6": ledger.p6,
    "P7": dashboard_page.p7,
    "P8": start.p8,
    "P10": slots.p10,
    "S1": streams.s1,
}


def main() -> None:
    """Measure what is asked for, print it, and record it."""
    parser = argparse.ArgumentParser(description="Measure speed and cost.")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(BENCHMARKS)}; all if none")
    parser.add_argument("--date", help="date to record; today if none")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"benchmark {unknown[0]!r} is unknown. Use any of {', '.join(BENCHMARKS)}")
    for name in asked.names or BENCHMARKS:
        date = asked.date or dt.datetime.now(tz=dt.UTC).date().isoformat()
        text = as_markdown(name, BENCHMARKS[name](), date)
        print(text)  # noqa: T201 - a program's output
        record(name, text)


if __name__ == "__main__":
    main()
