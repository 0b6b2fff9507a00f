"""Figures beside their targets: how they are told, and where they are recorded."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

RECORD = Path(__file__).with_name("RESULTS.md")
HEADING = "# Speed and cost\n\nWritten by `python -m benchmarks.speed` (`make bench`). Ratios are medians over interleaved pairs.\n"
_PACKAGES = ("dagster", "deltalake", "duckdb", "numpy", "pandas", "pyarrow")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `is_met` is None where there is no target."""

    work: str
    measured: str
    yardstick: str
    ratio: str
    target: str
    is_met: bool | None


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found, and how."""

    title: str
    method: str
    figures: tuple[Figure, ...]


def seconds(values: Sequence[float]) -> str:
    """Tell a median in seconds, with the extremes."""
    return f"{median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Return the ratio of each pair."""
    return [a / b for a, b in zip(above, below, strict=True)]


def machine() -> str:
    """Describe the machine and what runs on it."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {versions}"
    )


def as_markdown(name: str, result: Result, date: str) -> str:
    """Return a result as a section of the record."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    lines = [
        f"## {name}: {result.title}",
        "",
        f"{date}: `python -m benchmarks.speed {name}`",
        "",
        f"{machine()}; load {load}",
        "",
        result.method,
        "",
        "| id | work | measured | yardstick | ratio | target | met |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {f.work} | {f.measured} | {f.yardstick} | {f.ratio} | {f.target} | {_word(f.is_met)} |"
        for f in result.figures
    ]
    return "\n".join(lines) + "\n"


def record(name: str, text: str) -> None:
    """Replace the section of a benchmark in the record; sections stand in order of their names."""
    found = RECORD.read_text(encoding="utf-8") if RECORD.exists() else HEADING
    sections = re.split(r"^(?=## )", found, flags=re.MULTILINE)[1:]
    kept = [s for s in sections if not s.startswith(f"## {name}:")]
    body = "\n".join(s.strip() + "\n" for s in sorted([*kept, text]))
    RECORD.write_text(f"{HEADING}\n{body}", encoding="utf-8")


def _word(is_met: bool | None) -> str:  # noqa: FBT001 - a field of a figure
    return "-" if is_met is None else ("yes" if is_met else "no")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.processor()
