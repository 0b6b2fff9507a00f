"""`fleet training-set`: site-windows with labels, as files to train models on."""

from pathlib import Path

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.spans import optional_from, optional_to, read_instant, span_between
from fleet_dagster.cli.standing import standing_fleet
from fleet_dagster.cli.terminal import counted, json_option, note, print_json, progress_bar
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.storage.store import Store
from fleet_dagster.training_sets.choice import Choice
from fleet_dagster.training_sets.folder import TrainingFolder
from fleet_dagster.training_sets.manifest import Manifest
from fleet_dagster.training_sets.update import Writer


@click.command("training-set")
@click.argument("fleet")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to: days/ with one Parquet file for each UTC day, and manifest.json.",
)
@optional_from
@optional_to
@click.option("--kpi", "kpis", multiple=True, metavar="NAME", help="KPI to take. [default: all]")
@click.option("--site", "sites", multiple=True, metavar="SITE", help="Site to take. [default: all]")
@click.option(
    "--update",
    is_flag=True,
    help="Begin a set that follows the fleet, or rewrite the days of one that have changed since the last time.",
)
@json_option
@installation_options
@click.pass_obj
def training_set(
    place: Place,
    fleet: str,
    *,
    out: Path,
    start: str | None,
    end: str | None,
    kpis: tuple[str, ...],
    sites: tuple[str, ...],
    update: bool,
    as_json: bool,
) -> None:
    """Write site-windows as training data, with what people said of incidents as labels.

    A row is a site in a window: its KPIs, health and anomaly score, and the acknowledged incident that it belongs to, if any.
    Name a span with --from and --to, or let --update follow the fleet. Exit code 1 when there are no rows.
    """
    config, folder = standing_fleet(place.installation(), fleet), TrainingFolder(out)
    manifest = folder.manifest()
    if update:
        _refuse_other_choice(folder, is_begun=manifest is not None, given=(start, kpis, sites, end))
    elif manifest is not None:
        message = f"{out} holds a training set. Bring it up to date with --update, or name another folder."
        raise click.BadParameter(message, param_hint="--out")
    elif start is None or end is None:
        message = "Name the span with --from and --to, or follow the fleet with --update."
        raise click.UsageError(message)
    store = place.store()
    store.registry.ensure(config)
    choice = _chosen(store, config, kpis, sites)
    with progress_bar(f"writing {fleet}") as bar:
        writer = Writer(store, config, folder, progress=bar.update)
        if update:
            since = Fleet.of(config).start
            since = since if start is None else read_instant(config, start, name="--from")
            done = writer.update(choice, since)
        else:
            done = writer.write(span_between(config, str(start), str(end)), choice)
    _show(store, config, folder, done, as_json=as_json)


def _refuse_other_choice(
    folder: TrainingFolder, *, is_begun: bool, given: tuple[object, ...]
) -> None:
    *choice, end = given
    if end is not None:
        message = "--update follows the fleet: leave --to out."
        raise click.UsageError(message)
    if is_begun and any(choice):
        message = f"{folder.path} keeps the span, KPIs and sites that it was begun with. Leave --from, --kpi and --site out, or name another folder."
        raise click.UsageError(message)


def _chosen(
    store: Store, config: FleetConfig, kpis: tuple[str, ...], sites: tuple[str, ...]
) -> Choice:
    strange = sorted(set(kpis) - set(config.kpi_names))
    if strange:
        message = f"Fleet {config.name} has no KPI {', '.join(strange)}. Its KPIs: {', '.join(config.kpi_names)}"
        raise click.BadParameter(message, param_hint="--kpi")
    choice = Choice.of(config, kpis, sites)
    known = {site.site_id for site in store.registry.fleet(config).sites}
    unknown = sorted(set(sites) - known)
    if unknown:
        message = f"Fleet {config.name} has no site {', '.join(unknown)}. Check the names: fleet regions list {config.name}"
        raise click.BadParameter(message, param_hint="--site")
    return choice


def _show(
    store: Store, config: FleetConfig, folder: TrainingFolder, done: Manifest, *, as_json: bool
) -> None:
    n_rows = sum(day.n_rows for day in done.days.values())
    content = done.as_json(store, config)
    if as_json:
        print_json(content)
    elif n_rows:
        labels = ", ".join(f"{n:,} {truth}" for truth, n in content["labelled_rows"].items() if n)
        files = [day for day in done.days.values() if day.n_rows]
        note(
            f"{folder.path} holds {counted(n_rows, 'row')} of {counted(len(files), 'day')}; labelled: {labels or 'none'}. "
            f"Read them: pandas.read_parquet({str(folder.days)!r})"
        )
    if not n_rows:
        note(
            f"Fleet {config.name} has no site rows in that span. Compute them: fleet run {config.name} --from DAY --to DAY"
        )
        raise SystemExit(1)
