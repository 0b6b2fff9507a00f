"""`fleet status`: how healthy a fleet is, and how fresh that is."""

import datetime as dt
import zoneinfo

import click
from rich.console import Console
from rich.table import Table

from fleet_dagster.cli.anomalies import show_anomalies, show_site_anomaly
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.restated import list_restated, refuse_wrong_use
from fleet_dagster.cli.spans import optional_from, optional_to, read_instant
from fleet_dagster.cli.standing import standing_fleet, standing_fleets
from fleet_dagster.cli.terminal import console, counted, json_option, note, print_json, utc
from fleet_dagster.core.health import BANDS
from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.installation import Installation
from fleet_dagster.storage.site_status import SiteStatus, site_status
from fleet_dagster.storage.status import FleetStatus, fleet_status, instant
from fleet_dagster.storage.store import Store

_COLOURS = {"healthy": "green", "degraded": "yellow", "critical": "red"}
_OUTLIERS_SHOWN = 10
_TWO_SIDED_95 = 1.96
_MOST_SITES = 0.9
_MODES = {
    "full": "full: every site is published every window",
    "downsample_healthy": "downsample_healthy: healthy sites are published every 5th window",
    "deviation_only": "deviation_only: sites are published when they deviate, and every 10th window",
    "storm": "storm",
}


@click.command()
@click.argument("fleet", required=False)
@click.option(
    "--at", metavar="INSTANT", help="Show the window that holds this instant. [default: the newest]"
)
@click.option(
    "--window",
    type=click.Choice(["latest", "settled"]),
    default="latest",
    show_default=True,
    help="The newest window, or the newest that only late telemetry can still change.",
)
@click.option("--site", metavar="SITE", help="Show one site, with its newest ranking.")
@click.option(
    "--restated",
    is_flag=True,
    help="List the windows of fleet_kpi that were restated, with what they held before; other tables are counted. [default: of the last 7 days]",
)
@optional_from
@optional_to
@json_option
@installation_options
@click.pass_obj
def status(
    place: Place,
    fleet: str | None,
    *,
    at: str | None,
    window: str,
    site: str | None,
    restated: bool,
    start: str | None,
    end: str | None,
    as_json: bool,
) -> None:
    """Show how healthy a fleet is, and how fresh that is.

    Without FLEET, all fleets are shown. With --restated, --from and --to name the windows to list. Exit code 1 when no
    window of any of them has been computed, or not the one that holds the instant asked for.
    """
    refuse_wrong_use(fleet, at or site, start, end, restated=restated)
    installation = place.installation()
    if restated and fleet is not None:
        list_restated(place, standing_fleet(installation, fleet), start, end, as_json=as_json)
        return
    configs = (
        standing_fleets(installation).configs
        if fleet is None
        else {fleet: standing_fleet(installation, fleet)}
    )
    store = place.store()
    found = [_standing(store, c, at=at, settled=window == "settled") for c in configs.values()]
    shown = [one for one in found if isinstance(one, FleetStatus)]
    if site is not None:
        _show_site(store, site, shown, as_json=as_json)
        return
    if as_json:
        answers = [one if isinstance(one, FleetStatus) else {"error": one} for one in found]
        print_json(shown if fleet is None else answers[0])
    for one in found:
        if isinstance(one, str):
            note(one)
        elif not as_json:
            _show(console(), one)
    if not configs:
        note(_no_fleet(installation))
    if not shown:
        raise SystemExit(1)


def _standing(
    store: Store, config: FleetConfig, *, at: str | None, settled: bool
) -> FleetStatus | str:
    """Return how a fleet stood, or why that is not known and which command changes that."""
    at_us = read_instant(config, at, name="--at") if at else None
    found = fleet_status(store, config.name, at=at_us, settled=settled)
    if at_us is None:
        return found or (
            f"Fleet {config.name}: no window has been computed yet. Land telemetry (fleet import, fleet simulate --land), "
            f"then: fleet run {config.name} --all"
        )
    if found is not None and at_us < _microseconds(found.window_end):
        return found
    what = f"Fleet {config.name}: the window that holds {utc(instant(at_us))}"
    if at_us < Fleet.of(config).start:
        return (
            f"{what} lies before the fleet's start_date, {config.start_date}. Name a later instant."
        )
    if at_us >= now_us():
        return f"{what} has not ended yet. Leave --at out to see the newest."
    if settled:
        return f"{what} is not settled, or not computed. Leave out --window settled to see it."
    day = instant(at_us).astimezone(zoneinfo.ZoneInfo(config.timezone)).date()
    return (
        f"{what} has not been computed. Compute it: fleet run {config.name} --from {day} --to {day}"
    )


def _show(screen: Console, now: FleetStatus) -> None:
    parts = "  ".join(f"{name} {share:.3f}" for name, share in now.parts.items())
    sites = ", ".join(f"{n} {name}" for name, n in now.sites.items() if n) or "no sites"
    screen.print(
        f"[bold]{now.fleet}[/bold]  {utc(now.window_start)}, {now.state}, revision {now.revision}"
    )
    _show_silence(screen, now)
    screen.print(f"  health    {_coloured(now.health, f'{now.health:.4f}')}  = {parts}")
    screen.print(f"  sites     {sites} (of {now.total_sites}; {now.unmapped} unmapped)")
    _show_ingestion(screen, now)
    screen.print(f"  coverage  {now.coverage:.1%} of the weight reports; site health {_range(now)}")
    screen.print(_regions(now))
    _show_outliers(screen, now)
    show_anomalies(screen, now)
    _show_freshness(screen, now)


def _show_ingestion(screen: Console, now: FleetStatus) -> None:
    """Say what is published, and in a storm how far the health can be trusted."""
    if now.storm is None:
        screen.print(f"  ingestion {_MODES[now.ingestion_mode]}{_published(now)}", soft_wrap=True)
        return
    margin = (
        "unknown" if now.health_stderr is None else f"± {_TWO_SIDED_95 * now.health_stderr:.4f}"
    )
    screen.print(
        f"  [yellow]ingestion storm[/] ({now.storm}): KPIs of {now.sampled_fraction:.0%} of the sites are read; "
        f"health {margin} (95 %)",
        soft_wrap=True,
    )


def _published(now: FleetStatus) -> str:
    """Say how many sites are published where not all are meant to be; all are while there is no baseline to compare with."""
    if now.ingestion_mode == "full" or now.published_fraction is None:
        return ""
    share = f"; {now.published_fraction:.0%} in this window"
    is_untrained = now.ingestion_mode == "deviation_only" and now.published_fraction > _MOST_SITES
    return f"{share} (until there is a baseline, all)" if is_untrained else share


def _show_site(store: Store, site: str, fleets: list[FleetStatus], *, as_json: bool) -> None:
    windows = [
        (one.fleet, Span(_microseconds(one.window_start), _microseconds(one.window_end)))
        for one in fleets
    ]
    found = [one for name, window in windows if (one := site_status(store, name, site, window))]
    if not found:
        note(
            f"No row of site {site!r} in {', '.join(name for name, _ in windows) or 'any fleet'}. Check the site's name."
        )
        raise SystemExit(1)
    if as_json:
        print_json(found if len(found) > 1 else found[0])
        return
    for one in found:
        _describe_site(console(), one)


def _describe_site(screen: Console, one: SiteStatus) -> None:
    """Say how a site stands."""
    _show_row(screen, one)
    _show_rank(screen, one)
    show_site_anomaly(screen, one)


def _show_row(screen: Console, one: SiteStatus) -> None:
    screen.print(
        f"[bold]{one.site_id}[/bold]  {one.fleet}, region {one.region_id}, {utc(one.window_start)}"
    )
    uptime = "unknown" if one.uptime_pct is None else f"{one.uptime_pct:.1f} %"
    screen.print(
        f"  status    {one.status}; uptime {uptime}, faults {one.fault_count if one.fault_count is not None else 'unknown'}"
    )
    screen.print(
        f"  row       {one.disposition}, {one.kpi_count} KPIs; last seen {utc(one.last_seen, 'longer ago than the staleness threshold')}"
    )


def _show_rank(screen: Console, one: SiteStatus) -> None:
    if one.ranked_at is None or one.composite_score is None:
        screen.print("  ranking   none in the last day")
        return
    when = "now" if one.ranked_at == one.window_start else f"as of {utc(one.ranked_at)}"
    outlier = "a persistent outlier" if one.is_persistent_outlier else "no persistent outlier"
    screen.print(
        f"  ranking   {when}: score {one.composite_score:.4f}, rank {one.rank_in_region} in region, {one.rank_in_fleet} in fleet; {outlier}"
    )


def _regions(now: FleetStatus) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  region")
    for name in ("health", "band", "coverage"):
        table.add_column(name, justify="left" if name == "band" else "right")
    table.add_column("on/deg/flt/off", justify="right")
    table.add_column("worst site")
    for region in now.regions:
        table.add_row(
            f"  {region.region_id}",
            f"{region.health:.4f}",
            f"[{_COLOURS[region.band]}]{region.band}[/]",
            f"{region.coverage:.0%}",
            "/".join(str(n) for n in region.sites.values()),
            region.worst_site_id or "-",
        )
    return table


def _show_outliers(screen: Console, now: FleetStatus) -> None:
    if not now.persistent_outliers:
        screen.print("  outliers  none that persists (3 of 5 windows)")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("  persistent outlier", "region", "score", "rank", "z in region", "z in fleet"):
        table.add_column(
            name, justify="left" if name in ("  persistent outlier", "region") else "right"
        )
    for site in now.persistent_outliers[:_OUTLIERS_SHOWN]:
        z = _signed(site.modified_z_region), _signed(site.modified_z_fleet)
        table.add_row(
            f"  {site.site_id}", site.region_id, f"{site.score:.4f}", str(site.rank_in_fleet), *z
        )
    screen.print(table)
    hidden = len(now.persistent_outliers) - _OUTLIERS_SHOWN
    if hidden > 0:
        screen.print(f"  and {hidden} more")


def _show_freshness(screen: Console, now: FleetStatus) -> None:
    screen.print(f"  fresh     newest window ends {utc(now.newest_window_end)}")
    screen.print(f"            newest telemetry   {utc(now.newest_telemetry)}")
    screen.print(f"            settled through    {utc(now.settled_through)}")
    if now.live_engine is not None:
        behind = counted(now.windows_behind(now_us()), "window")
        screen.print(
            f"  live      kept current by {now.live_engine}, {behind} behind", soft_wrap=True
        )
    counts = ", ".join(f"{problem} {n:,}" for problem, n in now.quarantined_last_day.items())
    screen.print(f"  quarantine, last day: {counts or 'nothing'}")


def _show_silence(screen: Console, now: FleetStatus) -> None:
    """Say which window to look at where no site reports; on one line, so that the command can be copied."""
    if (
        now.coverage == 0
        and now.newest_telemetry is not None
        and now.newest_telemetry < now.window_start
    ):
        stamp = now.newest_telemetry.isoformat().replace("+00:00", "Z")
        screen.print(
            f"  No site reports in this window. The last that any did: fleet status {now.fleet} --at {stamp}",
            soft_wrap=True,
        )


def _range(now: FleetStatus) -> str:
    if now.health_min is None or now.health_max is None:
        return "unknown"
    return f"{now.health_min:.3f} to {now.health_max:.3f}"


def _coloured(health: float, text: str) -> str:
    band = next(name for low, name in BANDS if round(health, 9) >= low)
    return f"[{_COLOURS[band]}]{text} {band}[/]"


def _signed(z: float | None) -> str:
    return "-" if z is None else f"{z:+.1f}"


def _microseconds(stamp: dt.datetime) -> int:
    return (stamp - instant(0)) // dt.timedelta(microseconds=1)


def _no_fleet(installation: Installation) -> str:
    return f"No fleet is defined in {installation.fleets_folder}. Make one with `fleet init NAME`, or a demo with `fleet up`."
