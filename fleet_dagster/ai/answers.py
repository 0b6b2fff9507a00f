"""What became of each question: one outcome a row, whatever the model does."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.ai.inputs import SlotInputs
from fleet_dagster.ai.known import Known
from fleet_dagster.ai.outputs import Predictions
from fleet_dagster.ai.router import Question
from fleet_dagster.ai.runners import AskError, AskLostError, AskTimeoutError, Runner, said
from fleet_dagster.core.row_digests import row_digests
from fleet_dagster.core.windows import DAY, HOUR
from fleet_dagster.model.config import content_digest
from fleet_dagster.model.slots import PINNED, AIModelSlot
from fleet_dagster.model.tables import OUTCOMES

OK, DISABLED, RATE_LIMITED, FAILED, TIMED_OUT = range(len(OUTCOMES))
PADDING = 64
"""A window has as many places in a batch as the fleet has sites, rounded up to a multiple of this."""
BATCH_ROWS = 16_384
"""Rows of a batch at most, unless one window has more: models are quicker on many rows than on few."""
PATIENCE = 3
"""Batches in a row without an answer after which a slot is left alone for a while."""
LONGEST_PAUSE = 64
"""Batches that it is left alone for at most; the pause doubles with each further failure."""
NOT_ASKED = "not asked: it gave no answer about the windows before"
ABSENT, NOT_A_NUMBER, OUT_OF_RANGE = (
    "an input is absent",
    "returned NaN",
    "returned a confidence outside 0 to 1",
)


@dataclass
class Answers:
    """The outcome of each row of a question; arrays of shape (n_rows,)."""

    question: Question
    outcome: NDArray[np.int8]
    prediction: NDArray[np.float64]
    confidence: NDArray[np.float64]
    latency_us: NDArray[np.int64]
    """-1 where nothing was asked."""
    input_digest: NDArray[np.uint64]
    error: NDArray[np.int32]
    """Into `errors`; -1 is none."""
    errors: list[str] = field(default_factory=list)

    @classmethod
    def none_yet(cls, question: Question) -> "Answers":
        """Return the answers before anything is asked: what lies beyond the rate limit stays so."""
        n = question.site.size
        limited = np.where(question.is_limited, RATE_LIMITED, FAILED).astype(np.int8)
        nan = np.full(n, np.nan)
        return cls(
            question,
            limited,
            nan,
            nan.copy(),
            np.full(n, -1),
            np.zeros(n, np.uint64),
            np.full(n, -1, np.int32),
        )

    def fail(self, rows: NDArray[np.int64], outcome: int, error: str) -> None:
        """Record why rows have no prediction."""
        if not rows.size:
            return
        if error not in self.errors:
            self.errors.append(error)
        self.outcome[rows], self.error[rows] = outcome, self.errors.index(error)


@dataclass
class Patience:
    """How often a slot has kept us waiting, over all of a run's questions, and for how many batches it is left alone."""

    in_a_row: int = 0
    pause: int = 0
    last: int = TIMED_OUT
    """Outcome of the batch that it was last asked about."""

    def asks(self) -> bool:
        """Tell whether the next batch is asked about."""
        if self.pause:
            self.pause -= 1
            return False
        return True

    def lose(self, outcome: int) -> None:
        """Take note of a batch without an answer."""
        self.in_a_row += 1
        self.last = outcome
        if self.in_a_row >= PATIENCE:
            self.pause = min(LONGEST_PAUSE, 2 ** (self.in_a_row - PATIENCE))

    def regain(self) -> None:
        """Take note of an answer."""
        self.in_a_row = 0


def model_digest(slot: AIModelSlot) -> str:
    """Return what tells models apart, 16 hex digits: the file's SHA-256, or a digest of address and version."""
    if slot.backend in PINNED and slot.sha256:
        return slot.sha256[:16]
    return content_digest([slot.backend, slot.artifact, slot.sha256, slot.version])


def contract_seed(slot: AIModelSlot) -> int:
    """Return a number that stands for what a slot's inputs and outputs mean."""
    return int(content_digest([list(slot.features), slot.output]), 16)


def answer(
    question: Question,
    inputs: SlotInputs,
    runner: Runner,
    known: Known,
    patience: Patience,
) -> Answers:
    """Ask a slot's model about every row of a question; never raises for what a model does.

    Rows that were answered before from equal inputs, by an equal model, keep their answer.
    """
    answers = Answers.none_yet(question)
    slot, wanted = question.slot, np.flatnonzero(~question.is_limited)
    if not wanted.size:
        return answers
    site, window = question.site[wanted], question.window[wanted]
    rows = inputs.matrix(slot.features, site, window)
    answers.input_digest[wanted] = row_digests(rows, contract_seed(slot))
    is_open = ~_remembered(answers, wanted, known)
    if slot.missing == "refuse":
        is_absent = np.isnan(rows).any(axis=1)
        answers.fail(wanted[is_absent & is_open], FAILED, ABSENT)
        is_open &= ~is_absent
    batches = Batches.of(inputs, window + inputs.span.start // inputs.fleet.interval)
    call = _Call(answers, runner, patience, batches)
    for part in batches.parts():
        asked = part[is_open[part]]
        if not asked.size:
            continue
        if not patience.asks():
            answers.fail(wanted[asked], patience.last, NOT_ASKED)
        elif not call.ask(wanted, rows, site, asked):
            # one window's rows must not decide what becomes of another's
            for own in batches.windows(asked):
                call.ask(wanted, rows, site, own)
    return answers


def _remembered(answers: Answers, wanted: NDArray[np.int64], known: Known) -> NDArray[np.bool_]:
    """Take over what was answered before; returns which of the rows these are."""
    question = answers.question
    found = known.find(
        question.slot,
        model_digest(question.slot),
        question.window[wanted],
        question.site[wanted],
        answers.input_digest[wanted],
    )
    is_known = found >= 0
    rows, at = wanted[is_known], found[is_known]
    answers.outcome[rows] = OK
    answers.prediction[rows], answers.confidence[rows] = known.prediction[at], known.confidence[at]
    answers.latency_us[rows] = known.latency_us[at]
    return np.asarray(is_known)


@dataclass(frozen=True)
class Batches:
    """Windows of an hour that are asked about together: batches of one shape, in which every site and window has its place.

    So a prediction's bits depend on neither the span asked for nor on which other sites and windows are.
    """

    n_sites: int
    """Places of one window."""
    n_windows: int
    """Windows of one batch."""
    window: NDArray[np.int64]
    """Window of each row, counted since 1970, shape (n_rows,), in order."""
    per_hour: int

    @classmethod
    def of(cls, inputs: SlotInputs, window: NDArray[np.int64]) -> "Batches":
        """Return the batches of rows, given the window of each."""
        day = inputs.span.start - inputs.span.start % DAY
        until = max(day + DAY, inputs.span.end)
        known = [n for n, s in enumerate(inputs.fleet.sites, 1) if s.active_from < until]
        places = -(-max(known, default=1) // PADDING) * PADDING
        per_hour = HOUR // inputs.fleet.interval
        return cls(places, max(1, min(per_hour, BATCH_ROWS // places)), window, per_hour)

    def parts(self) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch."""
        hour, within = np.divmod(self.window, self.per_hour)
        yield from _runs(hour * self.per_hour + within // self.n_windows, np.arange(within.size))

    def windows(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield some rows window by window; nothing where they are all of one."""
        if self.window[rows[0]] != self.window[rows[-1]]:
            yield from _runs(self.window[rows], rows)

    def places(self, rows: NDArray[np.int64], site: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of some rows in their batch."""
        within = self.window[rows] % self.per_hour % self.n_windows
        return np.asarray(within * self.n_sites + site[rows])


def _runs(key: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    cuts = np.flatnonzero(np.diff(key)) + 1
    yield from (run for run in np.split(rows, cuts) if run.size)


@dataclass(frozen=True)
class _Call:
    """Asks one slot's model about one batch after the other."""

    answers: Answers
    runner: Runner
    patience: Patience
    batches: Batches

    def ask(
        self,
        wanted: NDArray[np.int64],
        rows: NDArray[np.float32],
        site: NDArray[np.int64],
        asked: NDArray[np.int64],
    ) -> bool:
        """Ask about some rows of a batch; tells whether their outcome stands, or is to be asked for window by window."""
        at, own = self.batches.places(asked, site), wanted[asked]
        shape = (self.batches.n_sites * self.batches.n_windows, rows.shape[1])
        batch = np.broadcast_to(rows[asked[0]], shape).copy()
        batch[at] = rows[asked]
        is_asked = np.zeros(shape[0], dtype=np.bool_)
        is_asked[at] = True
        began, stands = time.perf_counter_ns(), True
        try:
            found = self.runner.ask(batch, is_asked)
        except AskTimeoutError as error:
            self.patience.lose(TIMED_OUT)
            self.answers.fail(own, TIMED_OUT, said_of(error))
        except AskLostError as error:
            self.patience.lose(FAILED)
            self.answers.fail(own, FAILED, said_of(error))
        except AskError as error:
            self.answers.fail(own, FAILED, said_of(error))
            stands = False
        else:
            self.patience.regain()
            _take(self.answers, own, Predictions(found.value[at], found.confidence[at]))
        self.answers.latency_us[own] = (time.perf_counter_ns() - began) // 1000 // own.size
        return stands


def said_of(error: AskError) -> str:
    """Return the recorded words of an error."""
    return str(error) or said(error)


def _take(answers: Answers, rows: NDArray[np.int64], found: Predictions) -> None:
    """Record predictions, apart from those that are none."""
    is_nan = ~np.isfinite(found.value) | np.isnan(found.confidence)
    is_off = ~is_nan & ((found.confidence < 0) | (found.confidence > 1))
    is_good = ~is_nan & ~is_off
    good = rows[is_good]
    answers.outcome[good] = OK
    answers.prediction[good], answers.confidence[good] = (
        found.value[is_good],
        found.confidence[is_good],
    )
    if is_nan.any():
        answers.fail(rows[is_nan], FAILED, NOT_A_NUMBER)
    if is_off.any():
        answers.fail(rows[is_off], FAILED, OUT_OF_RANGE)
