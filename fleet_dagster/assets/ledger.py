"""`ledger`: the history of fleet_kpi that cannot be rewritten silently."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.assets.spec import OWNER, asset_key
from fleet_dagster.assets.streams import group_of
from fleet_dagster.ledger.keeping import Kept, keep
from fleet_dagster.ledger.state import LedgerState, checkpoint_problem, ledger_state
from fleet_dagster.ledger.words import state_rows, state_table
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.resources import RESOURCE_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet_dagster.ledger.witness.client import Answer
    from fleet_dagster.storage.store import Store

NAME = "ledger"
FITS, RECORDED, VOUCHED = "checkpoint_fits", "nothing_is_pending", "enough_witnesses_vouch"
_CHECKS = {
    FITS: "The newest checkpoint is signed with the ledger's keys, and over the tree that is stored. `fleet verify` checks all of them.",
    RECORDED: "Warns when rows of fleet_kpi are not recorded although the ledger was brought up to date.",
    VOUCHED: "Warns when fewer witnesses than are needed have vouched for the newest checkpoint.",
}
_DESCRIPTION = (
    "Every row of `fleet_kpi` ever written, each restatement and removal, and what software computed it, in a Merkle tree whose root "
    "is signed at each materialization, with Ed25519 and ML-DSA-44; witnesses vouch that it only grew. It begins once the fleet has "
    "keys: `fleet keys init`. `fleet verify` checks all of it."
)


def ledger(config: FleetConfig) -> dg.AssetsDefinition:
    """Build the asset whose materialization appends what was committed, and signs it."""
    key = asset_key(config, NAME)

    @dg.asset(
        key=key,
        deps=[asset_key(config, FLEET_KPI.name)],
        description=_DESCRIPTION,
        group_name=group_of(config),
        owners=[OWNER],
        kinds={"ledger"},
        required_resource_keys={RESOURCE_KEY},
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=words) for name, words in _CHECKS.items()
        ],
        op_tags={"fleet": config.name, "node": NAME},
        metadata={"origin": config.ledger.origin_of(config.name)},
    )
    def shell(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        state, kept = ledger_state(store, config), None
        if state.has_begun:
            kept = keep(store, config)
            state = kept.state
            if kept.appended.n_missed:
                words = "%d commits expired before they were recorded"
                context.log.warning(words, kept.appended.n_missed)
        else:
            words = "fleet %s has no keys: nothing is recorded. Run `fleet keys init %s`"
            context.log.warning(words, config.name, config.name)
        yield _result(config, store, state, kept)

    return shell


def _result(
    config: FleetConfig, store: "Store", state: LedgerState, kept: Kept | None
) -> dg.MaterializeResult[None]:
    answers: Sequence[Answer] = () if kept is None else kept.answers
    return dg.MaterializeResult(
        metadata={
            "entries": state.size,
            "entries_appended": 0 if kept is None else kept.appended.n_entries,
            "rows_appended": 0 if kept is None else kept.appended.n_rows,
            "entries_witnessed": state.witnessed_size,
            "root": state.root or "none",
            "standing": dg.MetadataValue.md(state_table(state, answers)),
        },
        check_results=_checked(store, config, state),
    )


def _checked(store: "Store", config: FleetConfig, state: LedgerState) -> list[dg.AssetCheckResult]:
    problem = checkpoint_problem(store, config) if state.has_begun else ""
    told = {name.replace(" ", "_"): value for name, value in state_rows(state)}
    vouches = not state.n_needed or state.is_witnessed or not state.size
    return [
        dg.AssetCheckResult(
            check_name=FITS,
            passed=not problem,
            description=problem or "It fits",
            metadata=told,
        ),
        dg.AssetCheckResult(
            check_name=RECORDED,
            passed=not state.has_begun or not state.n_pending,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"pending": state.n_pending, "size": state.size},
        ),
        dg.AssetCheckResult(
            check_name=VOUCHED,
            passed=vouches,
            severity=dg.AssetCheckSeverity.WARN,
            description=""
            if state.n_needed
            else "No witnesses are configured: nobody else vouches",
            metadata={
                "size": state.size,
                "witnessed_size": state.witnessed_size,
                "needed": state.n_needed,
                **{f"witness_{w.name}": w.size for w in state.witnesses},
            },
        ),
    ]
