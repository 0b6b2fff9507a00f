"""P8: how long the command line, the package and the code location take to start."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import yaml

from benchmarks.ingest import clock
from benchmarks.report import Figure, Result, seconds
from fleet_dagster.ingest.simulator import demo_config

ROUNDS = 7
N_FLEETS, N_SITES = 4, 50
MOST_HELP_S, MOST_IMPORT_S, MOST_LOAD_S = 0.4, 0.1, 4.0
_HEAVY = ("dagster", "pandas")
_IMPORT = f"import sys, fleet_dagster; sys.exit(any(name in sys.modules for name in {_HEAVY}))"
_LOAD = "from fleet_dagster.definitions import build_defs; build_defs().get_repository_def().load_all_definitions()"


def p8() -> Result:
    """Measure starts, each in a process of its own."""
    fleet = Path(sys.executable).with_name("fleet")
    with tempfile.TemporaryDirectory() as folder:
        _write_fleets(Path(folder))
        place = {
            "FLEET_HOME": f"{folder}/home",
            "FLEET_FLEETS": f"{folder}/fleets",
            "DAGSTER_HOME": folder,
        }
        rounds = [
            (
                _run([sys.executable, "-c", "pass"], place),
                _run([str(fleet), "--help"], place),
                _run([sys.executable, "-c", _IMPORT], place),
                _run([sys.executable, "-c", _LOAD], place),
            )
            for _ in range(ROUNDS + 1)
        ][1:]
    bare, shown, imported, loaded = ([r[i] for r in rounds] for i in range(4))
    own_import = [i - b for i, b in zip(imported, bare, strict=True)]
    told = f"Python alone {seconds(bare)}"
    load_work = f"code location with {N_FLEETS} fleets of {N_SITES} sites, all definitions resolved"
    return Result(
        "starts",
        f"Each start is a process of its own; {ROUNDS} rounds after one. The import is told without Python's own start, and "
        f"ends in an error if it loads {' or '.join(_HEAVY)}.",
        (
            _figure("`fleet --help`", shown, told, MOST_HELP_S),
            _figure("`import fleet_dagster`", own_import, told, MOST_IMPORT_S),
            _figure(load_work, loaded, told, MOST_LOAD_S),
        ),
    )


def _figure(work: str, values: Sequence[float], yardstick: str, most_s: float) -> Figure:
    is_met = median(values) <= most_s
    return Figure(work, seconds(values), yardstick, "-", f"≤ {most_s:g} s", is_met)


def _run(command: Sequence[str], variables: dict[str, str]) -> float:
    environment = {**os.environ, **variables}
    return clock(
        lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603 - own commands
    )


def _write_fleets(folder: Path) -> None:
    fleets = folder / "fleets"
    fleets.mkdir()
    for i in range(N_FLEETS):
        name = f"fleet-{i + 1}".replace("-", "_")
        content = demo_config(name, "mixed", n_sites=N_SITES, n_regions=5, start_date="2026-01-01")
        (fleets / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
