"""Simulated telemetry landed as if it had just arrived: by `fleet simulate --land`, and for the demo fleet of `fleet up`."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.ingest.simulator import (
    KINDS,
    Kind,
    Scenario,
    Simulated,
    demo_config,
    demo_scenario,
)
from fleet_dagster.ingest.simulator.plants import MODELS
from fleet_dagster.ingest.snapshots import landed_table
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.source import SourceMapping
from fleet_dagster.storage.store import Store

DEMO_SITES, DEMO_REGIONS, DEMO_SEED = 24, 4, 7
DEMO_KIND: Kind = "thermoelectric"
DEMO_NAME = "demo"
DEMO_DAYS = 6
_LATEST = 10 * DAY
"""Nothing is simulated to be received later than this after it was taken."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """Which fleet is fed by the simulator; kept in the installation's `demo.json`."""

    fleet: str = DEMO_NAME
    seed: int = DEMO_SEED
    kind: Kind = DEMO_KIND

    @classmethod
    def read(cls, path: Path) -> "Demo | None":
        """Return the demo that the marker names; None where there is no marker."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def write(self, path: Path) -> None:
        """Write the marker."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def demo_content(start_date: str) -> dict[str, object]:
    """Return the content of the demo fleet's file."""
    return demo_config(
        DEMO_NAME, DEMO_KIND, n_sites=DEMO_SITES, n_regions=DEMO_REGIONS, start_date=start_date
    )


def scenario_of(
    config: FleetConfig, *, seed: int, kind: Kind | None = None, has_faults: bool = True
) -> Scenario:
    """Return the scenario that suits a fleet: its own sites and regions, and the kind that knows most of its KPIs."""
    sites = {m.site_id: m.region_id for m in config.region_mappings}
    n_sites, n_regions = len(sites) or 6, len(set(sites.values())) or 2
    chosen = kind or likely_kind(config)
    if not has_faults:
        return Scenario(seed=seed, kind=chosen, n_sites=n_sites, n_regions=n_regions)
    return demo_scenario(chosen, n_sites=n_sites, n_regions=n_regions, seed=seed)


def likely_kind(config: FleetConfig) -> Kind:
    """Return the kind of sites that most of the fleet's KPIs belong to."""
    names = set(config.kpi_names)
    return max(KINDS, key=lambda kind: len(names & {m.name for m in MODELS[kind]}))


def land_simulated(
    store: Store, config: FleetConfig, simulated: Simulated, *, scenario: Scenario, span: Span
) -> int:
    """Land one simulated span, at most once; returns the rows landed now."""
    name = f"{config.name}\n{scenario!r}\n{config.kpis!r}\n{span.start}\n{span.end}"
    key = hashlib.sha256(name.encode()).hexdigest()
    if store.landing.find(config.name, f"sim:{key}") is not None:
        return 0
    batch = f"sim-{key[:16]}", f"sim:{key}"
    return land_rows(store, config, simulated.telemetry, batch=batch, until=span.end + _LATEST)


def land_rows(
    store: Store, config: FleetConfig, rows: pa.Table, *, batch: tuple[str, str], until: int
) -> int:
    """Land rows as a batch with an id and a key; none of them was received after `until`."""
    batch_id, key = batch
    as_simulated = config.model_copy(update={"source": SourceMapping(received_at="received_at")})
    store.registry.ensure(config)
    judged = landed_table(
        as_simulated,
        rows,
        batch_id=batch_id,
        received_at_us=until,
        historical=False,
        admit=lambda seen: store.registry.admit(config, seen),
    )
    landed = store.landing.append(
        config.name,
        judged,
        batch_id=batch_id,
        idempotency_key=key,
        source="simulator",
        historical=False,
    )
    return landed.n_rows if landed.is_new else 0
