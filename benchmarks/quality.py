"""Detection quality, measured: each figure beside its target; `python -m benchmarks.quality` prints and records them.

Nothing is tuned here, and no target is dropped for being missed.
"""

import argparse
import datetime as dt
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.detection.data import where_present
from benchmarks.detection.servers import q2, q3
from benchmarks.detection.skab import q1
from benchmarks.detection.tennessee import q4
from benchmarks.detection.turbofan import q5
from benchmarks.modes import e3
from benchmarks.outliers import q8
from benchmarks.restatement import e2
from benchmarks.root_cause.petshop import q6
from benchmarks.root_cause.planted import planted
from benchmarks.root_cause.q7 import q7
from benchmarks.root_cause.quiet import quiet
from benchmarks.storm_nodes import e4_nodes
from benchmarks.storms import e4

RECORD = Path(__file__).with_name("QUALITY.md")
HEADING = "# Detection quality\n\nWritten by `python -m benchmarks.quality` (`make quality`).\n"


@dataclass(frozen=True, slots=True)
class Section:
    """One measurement: what it is called, and what returns its table as Markdown."""

    title: str
    measure: Callable[[], str]


SECTIONS = {
    "E2": Section("E2: late batches and changes of mapping", e2),
    "E3": Section("E3: ingestion modes against full", e3),
    "E4": Section("E4: a storm's sample against the whole fleet", e4),
    "E4-nodes": Section("E4 through all nodes", e4_nodes),
    "Q1": Section("Q1: anomalies of the Skoltech benchmark", where_present(q1)),
    "Q2": Section("Q2: anomalies of the Server Machine Dataset", where_present(q2)),
    "Q3": Section("Q3: anomalies of the Application Server Dataset", where_present(q3)),
    "Q4": Section("Q4: faults of the Tennessee Eastman process", where_present(q4)),
    "Q5": Section("Q5: worn engines of C-MAPSS", where_present(q5)),
    "Q6": Section("Q6: PetShop, the cause of an issue", q6),
    "Q7": Section("Q7: simulated cascades", q7),
    "Q8": Section("Q8: modified Z-scores on Gaussian groups", q8),
    "planted": Section("Planted faults of the simulator", planted),
    "quiet": Section("Fault-free months", quiet),
}


def main() -> None:
    """Measure what is asked for, print it, and record it."""
    parser = argparse.ArgumentParser(description="Measure detection quality.")
    parser.add_argument("sections", nargs="*", help=f"any of {', '.join(SECTIONS)}; all if none")
    asked = parser.parse_args().sections or list(SECTIONS)
    unknown = [name for name in asked if name not in SECTIONS]
    if unknown:
        parser.error(f"section {unknown[0]!r} is unknown. Use any of {', '.join(SECTIONS)}")
    for name in asked:
        section = SECTIONS[name]
        text = f"## {section.title}\n\n{_stamp(name)}\n\n{section.measure()}\n"
        print(text)  # noqa: T201 - a program's output
        record(section.title, text)


def record(title: str, text: str) -> None:
    """Replace the section of that title in the record, or append it."""
    found = RECORD.read_text(encoding="utf-8") if RECORD.exists() else HEADING
    before = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    kept = before.sub("", found).rstrip() + "\n\n"
    RECORD.write_text(kept + text, encoding="utf-8")


def _stamp(name: str) -> str:
    today = dt.datetime.now(tz=dt.UTC).date()
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"{today}, {machine}: `python -m benchmarks.quality {name}`"


if __name__ == "__main__":
    main()
