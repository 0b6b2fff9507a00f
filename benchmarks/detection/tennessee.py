"""Q4: the Tennessee Eastman process, sixteen variables of one plant, faults that begin at a known row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.data import table
from benchmarks.detection.trial import Rows, ranged_kpis, scores, trial
from fleet_dagster.model.tables import N_KPIS

NORMAL = 0
FAULT_STARTS = 160
"""Row of the test runs at which their fault begins."""
INTERVAL_S = 180
FALSE_ALARMS = 0.01
THRESHOLD = 0.5
TARGET = 0.91


@dataclass(frozen=True, slots=True)
class Process:
    """Names of the variables, the normal run that is learnt from, and the test runs by fault."""

    names: tuple[str, ...]
    training: Rows
    tested: Mapping[int, Rows]

    def of(self, chosen: NDArray[np.intp]) -> "Process":
        """Keep some variables."""
        tested = {fault: rows[:, chosen] for fault, rows in self.tested.items()}
        return Process(tuple(self.names[k] for k in chosen), self.training[:, chosen], tested)


def process() -> Process:
    """Return the process with all its variables."""
    every = table("tep", "tep").sort_values("row")
    names = tuple(name for name in every.columns if name.startswith(("xmeas_", "xmv_")))
    tested = every[every["split"] == "test"]
    normal = every[(every["split"] == "train") & (every["fault"] == NORMAL)]
    runs = {
        fault: tested.loc[tested["fault"] == fault, list(names)].to_numpy(np.float64)
        for fault in sorted(tested["fault"].unique().tolist())
    }
    return Process(names, normal[list(names)].to_numpy(np.float64), runs)


def most_coupled(whole: Process) -> NDArray[np.intp]:
    """Choose the variables with the strongest correlation to any other one in training."""
    return np.sort(np.argsort(-_correlation(whole).max(axis=0), kind="stable")[:N_KPIS])


def actuators_first(whole: Process) -> NDArray[np.intp]:
    """Choose all actuators, and the measured variables that correlate most with everything in training."""
    is_actuator = np.array([name.startswith("xmv_") for name in whole.names])
    coupling = (_correlation(whole) ** 2).sum(axis=0) + np.where(is_actuator, len(whole.names), 0)
    return np.sort(np.argsort(-coupling, kind="stable")[:N_KPIS])


def q4() -> str:
    """Return the table of Q4 as Markdown."""
    whole = process()
    faults = [fault for fault in whole.tested if fault != NORMAL]
    lines = [
        f"Detection rate at {FALSE_ALARMS:.0%} false alarms on the normal test run, mean over faults {', '.join(map(str, faults))}; target: {TARGET}.",
        "The last two columns take the level that training sets instead.",
        "",
        f"| variables | actuators among them | {' | '.join(f'fault {f}' for f in faults)} | mean | false alarms at the level % | mean detection at the level |",
        f"|{'---|' * (len(faults) + 5)}",
    ]
    for what, chosen in (
        ("strongest single correlation", most_coupled(whole)),
        ("all actuators, then largest sum of squared correlations", actuators_first(whole)),
    ):
        lines.append(_row(what, whole.of(chosen), faults))
    return "\n".join(lines)


def _row(what: str, chosen: Process, faults: Sequence[int]) -> str:
    trained = trial(
        {"plant": chosen.training},
        ranged_kpis(chosen.training, chosen.names),
        interval_s=INTERVAL_S,
    )
    runs = {
        fault: scores(trained.evaluate({"plant": rows}), "plant")
        for fault, rows in chosen.tested.items()
    }
    limit = np.quantile(runs[NORMAL]["reconstruction_error"], 1 - FALSE_ALARMS)
    after = {fault: runs[fault].iloc[FAULT_STARTS:] for fault in faults}
    rates = [float((rows["reconstruction_error"] > limit).mean()) for rows in after.values()]
    at_level = float(np.mean([(rows["score"] > THRESHOLD).mean() for rows in after.values()]))
    n_actuators = sum(name.startswith("xmv_") for name in chosen.names)
    return (
        f"| {what} | {n_actuators} of {len(chosen.names)} | {' | '.join(f'{r:.3f}' for r in rates)} | {np.mean(rates):.3f} "
        f"| {100 * (runs[NORMAL]['score'] > THRESHOLD).mean():.1f} | {at_level:.3f} |"
    )


def _correlation(whole: Process) -> NDArray[np.float64]:
    """Return |correlation| in training, 0 with itself and where a variable stands still."""
    moves = whole.training.std(axis=0) > 0
    found = np.zeros((moves.size, moves.size))
    found[np.ix_(moves, moves)] = np.abs(np.corrcoef(whole.training[:, moves].T))
    np.fill_diagonal(found, 0.0)
    return found
