"""`fleet init` and `fleet validate`: the fleets' files."""

import datetime as dt
import json
from pathlib import Path

import click

from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.template import fleet_file
from fleet_dagster.cli.terminal import counted, json_option, note, print_json
from fleet_dagster.ingest.simulator import KINDS, Kind, demo_config
from fleet_dagster.ingest.units import kpi_conversions
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.profiles import PROFILES
from fleet_dagster.model.rules import doubts
from fleet_dagster.model.yaml_file import line_of, load_config, parse_config
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.status import instant

SCHEMA_FILE = "fleet.schema.json"
_HISTORY_DAYS = 30


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="thermoelectric",
    show_default=True,
    help="Kind of sites.",
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    help="Size class. [default: the smallest that fits]",
)
@click.option(
    "--sites",
    "n_sites",
    type=click.IntRange(1, 1000),
    default=6,
    show_default=True,
    help="Number of sites.",
)
@click.option(
    "--regions",
    "n_regions",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Number of regions.",
)
@click.option(
    "--start-date",
    type=click.DateTime(["%Y-%m-%d"]),
    help=f"First day of the fleet's history. [default: {_HISTORY_DAYS} days ago]",
)
@installation_options
@click.pass_obj
def init(
    place: Place,
    name: str,
    *,
    kind: Kind,
    profile: str | None,
    n_sites: int,
    n_regions: int,
    start_date: dt.datetime | None,
) -> None:
    """Write a new fleet's file, ready to edit.

    The file holds sixteen KPIs that suit the kind of sites, and as many made-up sites as asked for: replace them by your own.
    """
    folder = place.installation().fleets_folder
    path = folder / f"{name}.yaml"
    if path.exists():
        message = f"{path} exists. Choose another name, or remove the file first."
        raise click.BadParameter(message, param_hint="NAME")
    start = (
        start_date.date()
        if start_date
        else (instant(now_us()) - dt.timedelta(days=_HISTORY_DAYS)).date()
    )
    content = demo_config(
        name,
        kind,
        n_sites=n_sites,
        n_regions=min(n_regions, n_sites),
        start_date=start,
        profile=profile,
    )
    text = fleet_file(content)
    parse_config(text, source=str(path))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    note(
        f"Wrote {path} ({counted(n_sites, 'site')}, {kind}). Edit it, then check it: fleet validate"
    )


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@json_option
@installation_options
@click.pass_obj
def validate(place: Place, files: tuple[Path, ...], *, as_json: bool) -> None:
    """Check fleet files; every problem is named with its line.

    Without FILES, all fleets of the folder are checked, together: two files may not define the same fleet. Exit code 1
    when a file is not valid. A value that is allowed but in doubt is named too, after a question mark.
    """
    results = [_checked(path) for path in files or _fleet_files(place)]
    _name_repeats(results)
    if as_json:
        print_json(results)
    else:
        for result in results:
            _show(result)
    if not results:
        note(f"No fleet file in {place.installation().fleets_folder}. Make one: fleet init NAME")
    if not results or any(r["problems"] for r in results):
        raise SystemExit(1)


def schema_text() -> str:
    """Return the JSON Schema of a fleet's file."""
    content = FleetConfig.model_json_schema()
    content["properties"]["profile"] = _named(content["properties"]["profile"], sorted(PROFILES))
    content["properties"]["health_weights"] = _named(
        content["properties"]["health_weights"], ["energy", "logistics", "manufacturing"]
    )
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _named(field: dict[str, object], names: list[str]) -> dict[str, object]:
    """Let a field be given by name as well as spelled out."""
    rest = {k: v for k, v in field.items() if k in ("description", "title")}
    spelled = {k: v for k, v in field.items() if k in ("$ref", "allOf")}
    return {**rest, "anyOf": [{"enum": names}, spelled]}


def _fleet_files(place: Place) -> list[Path]:
    return place.installation().files()


def _checked(path: Path) -> dict[str, object]:
    try:
        found = load_config(path)
    except ConfigError as error:
        return {"file": str(path), "fleet": None, "problems": list(error.problems), "doubts": []}
    problems = _unit_problems(path, found)
    n_sites = len({m.site_id for m in found.region_mappings})
    return {
        "file": str(path),
        "fleet": found.name,
        "profile": found.profile.name,
        "sites": n_sites,
        "regions": len({m.region_id for m in found.region_mappings}),
        "kpis": len(found.kpis),
        "problems": problems,
        "doubts": _doubts(path, found),
    }


def _unit_problems(path: Path, found: FleetConfig) -> list[str]:
    """Return which source units cannot be converted, with the line of the KPI's column."""
    try:
        kpi_conversions(found)
    except ConfigError as error:
        lines = {
            f"KPI {name!r}:": line_of(path, ("source", "kpis", name, "unit"))
            for name in found.kpi_names
        }
        return [
            next((f"line {n}: " for start, n in lines.items() if p.startswith(start)), "") + p
            for p in error.problems
        ]
    return []


def _doubts(path: Path, found: FleetConfig) -> list[str]:
    placed = [(line_of(path, place), words) for place, words in doubts(found)]
    return [words if line is None else f"line {line}: {words}" for line, words in placed]


def _name_repeats(results: list[dict[str, object]]) -> None:
    homes: dict[object, object] = {}
    for result in results:
        name = result["fleet"]
        if name is not None and name in homes:
            result["problems"] = [
                f"name: fleet {name!r} is defined by {homes[name]} too. Rename one of them"
            ]
        homes.setdefault(name, result["file"])


def _show(result: dict[str, object]) -> None:
    problems = result["problems"]
    if problems:
        click.echo(f"{result['file']}: not valid")
        for problem in problems if isinstance(problems, list) else []:
            click.echo(f"  - {problem}")
        return
    sites, regions, kpis = (
        counted(int(str(result[name])), thing)
        for name, thing in (("sites", "site"), ("regions", "region"), ("kpis", "KPI"))
    )
    click.echo(
        f"{result['file']}: fine; fleet {result['fleet']}, profile {result['profile']}, {sites} in {regions}, {kpis}"
    )
    doubtful = result["doubts"]
    for doubt in doubtful if isinstance(doubtful, list) else []:
        click.echo(f"  ? {doubt}")
