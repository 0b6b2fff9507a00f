"""`fleet slots`: the AI models of a fleet, registered, tried out and audited without a restart."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.table import Table

from fleet_dagster.ai.artifacts import ModelFolder
from fleet_dagster.ai.dry_run import DryRun, dry_run
from fleet_dagster.cli.place import Place, installation_options
from fleet_dagster.cli.recorded import OpenFleet, edit_settings, from_instant, show_recorded
from fleet_dagster.cli.slot_answers import newest_answers, show_answers
from fleet_dagster.cli.slot_audit import audit
from fleet_dagster.cli.slot_options import model_options
from fleet_dagster.cli.spans import read_instant
from fleet_dagster.cli.terminal import console, json_option, note, print_json, utc
from fleet_dagster.core.windows import SECOND, floor_to, iso
from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.errors import ConfigError, ModelError, RuleError
from fleet_dagster.model.messages import problems_in
from fleet_dagster.model.rules import refuse_broken
from fleet_dagster.model.slot_edits import change_slot, put_slot, registered, remove_slot
from fleet_dagster.model.slots import PINNED, AIModelSlot
from fleet_dagster.model.tables import SITE_KPI
from fleet_dagster.reference_models import NAMES, build
from fleet_dagster.refresh.due import CATCH_UP_DAYS
from fleet_dagster.storage.status import instant

Edit = Callable[[HotSettings, int], HotSettings]


@click.group()
def slots() -> None:
    """Register AI models, try them out, and put them in and out of use, without a restart."""


slots.add_command(audit)


@slots.command("list")
@click.argument("fleet")
@click.option(
    "--at",
    metavar="INSTANT",
    help="As of the window that holds this instant. [default: the next window]",
)
@json_option
@installation_options
@click.pass_obj
def list_(place: Place, fleet: str, *, at: str | None, as_json: bool) -> None:
    """List a fleet's AI models, and whether their files are what was registered."""
    opened = OpenFleet.of(place, fleet)
    asked = read_instant(opened.config, at, name="--at") if at else None
    window = (
        opened.next_window()
        if asked is None
        else floor_to(asked, opened.config.interval_s * SECOND)
    )
    found = opened.store.registry.fleet(opened.config).settings_at(window).ai_models
    folder = ModelFolder(opened.store.models)
    rows = [{**slot.model_dump(mode="json"), "file": _file_state(slot, folder)} for slot in found]
    if as_json:
        print_json(rows)
        return
    free = opened.config.profile.ai_slots - len(found)
    if found:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in (
            "slot",
            "model",
            "version",
            "use",
            "backend",
            "domain",
            "rate",
            "confidence",
            "features",
            "file",
        ):
            table.add_column(name)
        for slot, row in zip(found, rows, strict=True):
            table.add_row(
                f"{slot.slot_id:02d}",
                slot.model_id,
                slot.version,
                "active" if slot.active else "disabled",
                slot.backend,
                slot.domain,
                f"{slot.rate_limit_hz:g} Hz",
                f"{slot.confidence_threshold:g}",
                str(len(slot.features)),
                str(row["file"]),
            )
        console().print(table)
    note(
        f"As of {utc(instant(window))}; {free} of {opened.config.profile.ai_slots} slots of profile {opened.config.profile.name!r} are free."
    )


@slots.command()
@click.argument("fleet")
@click.argument("model_id", required=False)
@click.option("--slot", "slot_id", type=int, help="Slot. [default: the first that is free]")
@click.option(
    "--reference",
    type=click.Choice(NAMES),
    help="Build one of the reference models, which takes a minute or two, instead of naming a file.",
)
@model_options
@click.option("--inactive", is_flag=True, help="Register it disabled.")
@from_instant
@json_option
@installation_options
@click.pass_obj
def add(
    place: Place,
    /,
    fleet: str,
    model_id: str | None,
    *,
    slot_id: int | None,
    reference: str | None,
    path: Path | None,
    no_dry_run: bool,
    inactive: bool,
    start: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Register a model in a slot, from a window on.

    It is tried out on made-up inputs first; one that gives no answer is not registered.
    """
    opened = OpenFleet.of(place, fleet)
    if slot_id is None:
        slot_id = _first_free(opened)
    own = {"slot_id": slot_id, "active": not inactive, **_stated(given)}
    if model_id is not None:
        own["model_id"] = model_id
    if reference is not None:
        slot = _reference(opened, reference, own, path)
    elif model_id is None:
        message = "Name the model: MODEL_ID, or --reference."
        raise click.UsageError(message)
    else:
        slot = _checked(_with_file(opened, own, path))
    _try_out(opened, slot, skip=no_dry_run)
    _record(
        opened,
        lambda settings, _at: put_slot(settings, slot),
        start,
        source=f"fleet slots add {slot.model_id}",
        as_json=as_json,
    )


@slots.command()
@click.argument("fleet")
@click.argument("slot_id", type=int)
@click.option("--model-id", help="Name of the model.")
@model_options
@from_instant
@json_option
@installation_options
@click.pass_obj
def update(
    place: Place,
    /,
    fleet: str,
    slot_id: int,
    *,
    model_id: str | None,
    path: Path | None,
    no_dry_run: bool,
    start: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Change what a slot holds, from a window on: another version, file, threshold or limit; what is not named stays."""
    opened = OpenFleet.of(place, fleet)
    current = _standing(opened, slot_id, start)
    values = {**_stated(given), **({"model_id": model_id} if model_id else {})}
    changes = _with_file(opened, values, path, backend=current.backend)
    slot = _checked({**current.model_dump(), **changes})
    stated = {name: getattr(slot, name) for name in changes}
    if slot.active:
        _try_out(opened, slot, skip=no_dry_run)
    _record(
        opened,
        lambda settings, _at: change_slot(settings, slot_id, **stated),
        start,
        source=f"fleet slots update {slot_id}",
        as_json=as_json,
    )


def _switch(
    place: Place, fleet: str, slot_id: int, start: str | None, *, active: bool, as_json: bool
) -> None:
    opened = OpenFleet.of(place, fleet)
    _record(
        opened,
        lambda settings, _at: change_slot(settings, slot_id, active=active),
        start,
        source=f"fleet slots {'enable' if active else 'disable'} {slot_id}",
        as_json=as_json,
    )


@slots.command()
@click.argument("fleet")
@click.argument("slot_id", type=int)
@from_instant
@json_option
@installation_options
@click.pass_obj
def enable(place: Place, fleet: str, slot_id: int, *, start: str | None, as_json: bool) -> None:
    """Put a slot into use, from a window on."""
    _switch(place, fleet, slot_id, start, active=True, as_json=as_json)


@slots.command()
@click.argument("fleet")
@click.argument("slot_id", type=int)
@from_instant
@json_option
@installation_options
@click.pass_obj
def disable(place: Place, fleet: str, slot_id: int, *, start: str | None, as_json: bool) -> None:
    """Put a slot out of use, from a window on; each window then has one row that says so."""
    _switch(place, fleet, slot_id, start, active=False, as_json=as_json)


@slots.command()
@click.argument("fleet")
@click.argument("slot_id", type=int)
@from_instant
@json_option
@installation_options
@click.pass_obj
def remove(place: Place, fleet: str, slot_id: int, *, start: str | None, as_json: bool) -> None:
    """Take the model out of a slot, from a window on. Earlier windows keep their answers, and the file stays."""
    opened = OpenFleet.of(place, fleet)
    _record(
        opened,
        lambda settings, _at: remove_slot(settings, slot_id),
        start,
        source=f"fleet slots remove {slot_id}",
        as_json=as_json,
    )


@slots.command()
@click.argument("fleet")
@click.argument("slot_id", type=int)
@json_option
@installation_options
@click.pass_obj
def test(place: Place, fleet: str, slot_id: int, *, as_json: bool) -> None:
    """Ask a slot's model about the fleet's newest hour, and write nothing.

    Exit code 1 when it gives no answer.
    """
    opened = OpenFleet.of(place, fleet)
    slot = _standing(opened, slot_id, None)
    try:
        done = _try_out(opened, slot, skip=False)
    except ModelError as error:
        note(f"{error.model}: {error.problem}.")
        raise SystemExit(1) from error
    rows = newest_answers(opened.store, opened.config, slot)
    show_answers(slot, done, rows, as_json=as_json)


def _record(
    opened: OpenFleet, edit: Edit, start: str | None, *, source: str, as_json: bool
) -> None:
    asked = read_instant(opened.config, start, name="--from") if start else None
    after = opened.store.registry.newest_version(opened.config.name)
    edit_settings(opened, edit, start=asked, source=source)
    show_recorded(opened, after=after, asked=asked, as_json=as_json, nothing="nothing to change")
    _say_who_asks(opened, opened.next_window(asked))


def _say_who_asks(opened: OpenFleet, since: int) -> None:
    """Say how windows that are past already get their answers."""
    name, closed = (
        opened.config.name,
        opened.store.history.coverage.newest_end(SITE_KPI.name, opened.config.name),
    )
    if closed and since < closed:
        note(
            f"Windows before {iso(closed)} are asked about by {name}_ai_inference_schedule while Dagster runs, if they are of the last "
            f"{CATCH_UP_DAYS} days; or now: fleet run {name} --from {iso(since)} --to {iso(closed)}"
        )


def _stated(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value not in (None, ())}


def _with_file(
    opened: OpenFleet, values: dict[str, Any], path: Path | None, *, backend: str = "sklearn"
) -> dict[str, Any]:
    """Return the values with the file copied into the models folder, and pinned."""
    is_file = values.get("backend", backend) in PINNED
    if path is None:
        return values
    if not is_file or "artifact" in values:
        message = "A file goes with backends sklearn and onnx, and without --artifact."
        raise click.UsageError(message)
    name, digest = ModelFolder(opened.store.models).add(path)
    return {**values, "artifact": name, "sha256": digest}


def _reference(opened: OpenFleet, name: str, own: dict[str, Any], path: Path | None) -> AIModelSlot:
    """Build a reference model; what is named beside it counts before its own settings."""
    if path is not None:
        message = "--reference builds the file itself. Leave --file out."
        raise click.UsageError(message)
    note(f"Building {name} from simulated fleets; this takes a minute or two.")
    with tempfile.TemporaryDirectory() as folder:
        built = build(name, Path(folder))
        artifact, digest = ModelFolder(opened.store.models).add(built.path)
    return _checked({**built.slot, "artifact": artifact, "sha256": digest, **own})


def _checked(values: dict[str, Any]) -> AIModelSlot:
    try:
        return AIModelSlot.model_validate(values)
    except ValidationError as error:
        raise ConfigError("the slot", problems_in(error.errors(), AIModelSlot, {})) from error


def _try_out(opened: OpenFleet, slot: AIModelSlot, *, skip: bool) -> DryRun | None:
    """Try a model out, after a look at what is wrong with the slot without that."""
    try:
        refuse_broken(opened.config.model_copy(update={"ai_models": (slot,)}))
    except RuleError as error:
        raise ConfigError("the slot", [words for _, words in error.rules]) from error
    if skip:
        return None
    done = dry_run(slot, ModelFolder(opened.store.models))
    note(
        f"Tried out: {slot.model_id} {slot.version} answers {done.n_rows} made-up rows with {done.lowest:g} to {done.highest:g}, "
        f"confidence {done.mean_confidence:.2f} in the mean."
    )
    return done


def _first_free(opened: OpenFleet) -> int:
    config = opened.config
    opened.store.registry.ensure(config)
    settings = opened.store.registry.fleet(config).settings_at(opened.next_window())
    taken = {slot.slot_id for slot in settings.ai_models}
    free = [n for n in range(config.profile.ai_slots) if n not in taken]
    if not free:
        raise ModelError(
            f"fleet {config.name!r}",
            f"has no free slot: profile {config.profile.name!r} has {config.profile.ai_slots}",
            "Remove a model, or use a larger profile",
        )
    return free[0]


def _standing(opened: OpenFleet, slot_id: int, start: str | None) -> AIModelSlot:
    opened.store.registry.ensure(opened.config)
    asked = read_instant(opened.config, start, name="--from") if start else None
    fleet = opened.store.registry.fleet(opened.config)
    return registered(fleet.settings_at(opened.next_window(asked)), slot_id)


def _file_state(slot: AIModelSlot, folder: ModelFolder) -> str:
    if slot.backend not in PINNED:
        return slot.artifact
    try:
        folder.read(slot)
    except ModelError as error:
        return error.problem
    return "as registered"
