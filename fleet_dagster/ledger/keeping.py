"""Keeping a ledger: what was committed is recorded and signed, and the witnesses are asked to vouch for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleet_dagster.ledger.appender import Appended, Progress, appending
from fleet_dagster.ledger.log import Log
from fleet_dagster.ledger.state import LedgerState, ledger_state
from fleet_dagster.ledger.witness.client import Answer, gather
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.storage.store import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a ledger."""

    appended: Appended
    answers: Sequence[Answer]
    state: LedgerState


def keep(
    store: Store,
    config: FleetConfig,
    progress: Progress = lambda _done, _total: None,
    checkpoint: Callable[[str], None] = lambda _step: None,
) -> Kept:
    """Bring a fleet's ledger up to date. Witnesses that cannot be asked do not hold it up.

    Raises
    ------
    LedgerError
        There are no keys, or they are not those that the ledger is signed with.
    StreamError
        Another process appends to it, and did not end in time.
    """
    with appending(store, config, checkpoint=checkpoint) as appender:
        appended = appender.run(progress)
    answers = gather(Log(store.control, config.name), config.ledger.witnesses)
    return Kept(appended, answers, ledger_state(store, config))
