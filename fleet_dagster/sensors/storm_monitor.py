"""`storm_monitor`: begins and ends storm episodes, and has the windows computed that they hold."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from fleet_dagster.assets.spec import asset_key
from fleet_dagster.core.storm_detection import SMALLEST_FLEET
from fleet_dagster.core.windows import Span, iso
from fleet_dagster.metadata import storm_state
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.partitions import Partitions, keys_touching
from fleet_dagster.refresh.due import live_holder
from fleet_dagster.refresh.storm_watch import Look, StormWatch
from fleet_dagster.resources import RESOURCE_KEY
from fleet_dagster.run_requests import windows_run
from fleet_dagster.storage.clock import now_us

if TYPE_CHECKING:
    from fleet_dagster.sensors import WindowsJob
    from fleet_dagster.storage.store import Store

EVERY_S = 15


def storm_monitor(
    config: FleetConfig, partitions: Partitions, job: "WindowsJob"
) -> dg.SensorDefinition:
    """Watch one fleet for storms."""

    @dg.sensor(
        name=f"{config.name}_storm_monitor",
        job=job,
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={RESOURCE_KEY},
        description=(
            f"Begins a storm episode of fleet {config.name} when many sites change status at once or messages flood in, "
            f"and ends it after five calm windows. Fleets below {SMALLEST_FLEET} sites have no storms."
        ),
    )
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        store: Store = getattr(context.resources, RESOURCE_KEY)
        now = now_us()
        look = StormWatch(store, config).look(now, _cursor(context.cursor))
        cursor = str(look.judged_through)
        if not look.changed:
            reason = f"fleet {config.name}: {state_of(look)}"
            return dg.SensorResult(skip_reason=reason, cursor=cursor)
        for episode in look.changed:
            context.log.info("fleet %s: %s", config.name, told(episode))
        is_live = live_holder(store, config.name) is not None
        return dg.SensorResult(
            cursor=cursor,
            run_requests=[] if is_live else _runs(config, partitions, look.changed, now),
            asset_events=[
                dg.AssetObservation(
                    asset_key(config, FLEET_KPI.name),
                    description="; ".join(told(episode) for episode in look.changed),
                    metadata=storm_state(look.current),
                )
            ],
        )

    return tick


def told(episode: StormEpisode) -> str:
    """Say in words that an episode began, or ended."""
    if episode.is_open:
        return f"{episode.episode_id} began at {iso(episode.start)}: {episode.cause}"
    return f"{episode.episode_id} ended at {iso(episode.end)}"


def state_of(look: Look) -> str:
    """Say in words what a look saw."""
    state = "no storm" if look.current is None else f"{look.current.episode_id} is on"
    if look.activity is None:
        return f"{state}; {look.reason}"
    seen = look.activity
    usual = seen.usual_messages[-1]
    compared = "unknown before the first baseline" if usual != usual else f"{usual:,.0f}"  # noqa: PLR0124 - NaN
    return (
        f"{state}; in the window of {iso(int(seen.starts[-1]))} {seen.n_moved[-1]} of {seen.n_sites[-1]} sites changed "
        f"status or raised a fault, {seen.n_messages[-1]:,} messages (usually {compared})"
    )


def _cursor(text: str | None) -> int:
    """Return the end of the last window judged [us]; 0 where that is not known."""
    return int(text) if text and text.isdigit() else 0


def _runs(
    config: FleetConfig, partitions: Partitions, changed: Sequence[StormEpisode], now: int
) -> list[dg.RunRequest]:
    """Request the partitions that hold the first window under a new state."""
    requests: dict[str, dg.RunRequest] = {}
    for episode in changed:
        edge = episode.start if episode.is_open else episode.end
        for key in keys_touching(partitions, Span(edge, edge + 1), now=now):
            # The instant makes the key unique: an episode may be forgotten and begin again.
            run_key = f"{config.name}:{key}:{episode.episode_id}:{now}"
            requests[key] = windows_run(config, key, run_key=run_key, storm=episode.episode_id)
    return list(requests.values())
