"""Q1: the Skoltech Anomaly Benchmark by its own protocol, each experiment a fleet of one site."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.data import table
from benchmarks.detection.measures import Confusion
from benchmarks.detection.trial import Rows, Trial, ranged_kpis, scores, trial

TRAINING_ROWS = 400
THRESHOLDS = (0.5, 0.6, 0.7)
"""Those of the large, medium and small profile."""
BETWEEN = 0.55
"""A threshold that a fleet could set; read off these very labels, so for comparison only."""
CROP_SEEDS = (11, 23, 47)
MOST_CROPPED, LEAST_LEFT = 0.5, 100
"""Share of the scored rows that may go at either end, and rows that stay whatever is drawn."""
PAST_THE_HOUR = (0, 20, 40)
"""Where a recording may begin, in windows; the parts that training is split into depend on it."""
TARGET = "F1 >= 0.82, FAR <= 23 %, MAR <= 17 %"
PUBLISHED = (
    ("Conv-AE, which looks ahead", "0.78"),
    ("MSET", "0.78"),
    ("T2 + Q", "0.76"),
    ("Isolation Forest", "0.29"),
)

REMARKS = """\
In most of the false alarms after a fault the plant has not come back to where it was trained: the rows are normal by their
label, not by what the sensors say. `other-2` is missed altogether: 296 of the 400 rows that it is trained on lie in its fault. The
false alarm rate misses its target by this; a threshold of 0.55 comes close to all three figures, but was found on these labels.
No file was kept unseen while the detector was chosen, with the data of Q2 to Q5 in view as well; the halves, the crops and where
a recording begins show how much depends on the files, and were in view too.
Tried and not better, in a prototype: medians and MADs for means and deviations (F1 0.05 lower), smoothing errors instead of
readings (0.03 lower, more false alarms), 1, 3 and 8 windows in a vector, 5 to 20 in the mean, the residual part alone (fewer
false alarms here, but blind to wear: 0.81 in Q5), and levels from in-sample errors (a false alarm in three windows on simulated
noise of 400 rows, where one in 100 is asked for)."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One file: what it is trained on, what is scored, and which of that is anomalous."""

    name: str
    sensors: tuple[str, ...]
    training: Rows
    scored: Rows
    is_anomaly: NDArray[np.bool_]

    def cropped(self, rng: np.random.Generator) -> "Experiment":
        """Leave out rows at both ends of what is scored: where a row lies in its file alone tells much of its label."""
        n = len(self.scored)
        first, last = (int(share * n) for share in MOST_CROPPED * rng.random(2))
        end = min(n, max(n - last, first + LEAST_LEFT))
        return Experiment(
            self.name,
            self.sensors,
            self.training,
            self.scored[first:end],
            self.is_anomaly[first:end],
        )

    def trial(self, past_the_hour: int = 0) -> Trial:
        """Train the experiment's own fleet; a row a second becomes a row a minute."""
        kpis = ranged_kpis(self.training, self.sensors)
        return trial({self.name: self.training}, kpis, interval_s=60, past_the_hour=past_the_hour)


def experiments() -> Iterator[Experiment]:
    """Yield the experiments with an anomaly."""
    rows = table("skab", "skab")
    sensors = tuple(rows.columns.drop(["file", "datetime", "anomaly", "changepoint"]))
    for name, own in rows[rows["anomaly"].notna()].groupby("file", sort=True):
        values = own[list(sensors)].to_numpy(np.float64)
        is_anomaly = own["anomaly"].to_numpy(np.float64)[TRAINING_ROWS:] > 0
        yield Experiment(
            str(name).replace("/", "-"),
            tuple(sensor.replace(" ", "_") for sensor in sensors),
            values[:TRAINING_ROWS],
            values[TRAINING_ROWS:],
            is_anomaly,
        )


def q1() -> str:
    """Return the table of Q1 as Markdown."""
    files = list(experiments())
    trained = [e.trial() for e in files]
    whole = [_scores(t, e) for t, e in zip(trained, files, strict=True)]
    labels = [e.is_anomaly for e in files]
    rows = [_row("all rows after the first 400", labels, whole, t) for t in (*THRESHOLDS, BETWEEN)]
    rows += [
        _row(f"files {', '.join(e.name for e in files[k::2])}", labels[k::2], whole[k::2])
        for k in range(2)
    ]
    for late in PAST_THE_HOUR[1:]:
        found = [_scores(e.trial(late), e) for e in files]
        rows.append(_row(f"recording begins {late} windows past the hour", labels, found))
    rows += [_cropped_row(seed, files, trained) for seed in CROP_SEEDS]
    rows.append(_row("every row flagged", labels, [np.ones(own.size) for own in labels]))
    return "\n".join(
        [
            f"{len(files)} experiments, those with labels, each a fleet of one site. Target: {TARGET}.",
            f"Published F1: {', '.join(f'{name} {f1}' for name, f1 in PUBLISHED)}, on more files than are here.",
            "",
            "| what is scored | anomalous % | threshold | F1 | FAR % | MAR % |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            _when_false(labels, whole),
            REMARKS,
        ]
    )


def _scores(trained: Trial, experiment: Experiment) -> NDArray[np.float64]:
    result = trained.evaluate({experiment.name: experiment.scored})
    return scores(result, experiment.name)["score"].to_numpy(np.float64)


def _cropped_row(seed: int, files: Sequence[Experiment], trained: Sequence[Trial]) -> str:
    rng = np.random.default_rng(seed)
    cropped = [e.cropped(rng) for e in files]
    found = [_scores(t, e) for t, e in zip(trained, cropped, strict=True)]
    return _row(f"cropped at both ends, seed {seed}", [e.is_anomaly for e in cropped], found)


def _row(
    what: str,
    labels: Sequence[NDArray[np.bool_]],
    found: Sequence[NDArray[np.float64]],
    threshold: float = THRESHOLDS[0],
) -> str:
    label = np.concatenate(labels)
    c = Confusion.of(np.concatenate(found) > threshold, label)
    return f"| {what} | {100 * label.mean():.0f} | {threshold} | {c.f1:.3f} | {c.far_pct:.1f} | {c.mar_pct:.1f} |"


def _when_false(labels: Sequence[NDArray[np.bool_]], found: Sequence[NDArray[np.float64]]) -> str:
    """Say how many normal rows are alarmed before the faults, and after."""
    before, after = [], []
    for label, score in zip(labels, found, strict=True):
        first, last = np.flatnonzero(label)[[0, -1]]
        before.append(score[:first] > THRESHOLDS[0])
        after.append(score[last + 1 :] > THRESHOLDS[0])
    early, late = np.concatenate(before), np.concatenate(after)
    return (
        f"False alarms: {100 * early.mean():.1f} % of the {early.size} rows before a file's faults, "
        f"{100 * late.mean():.1f} % of the {late.size} after them."
    )
