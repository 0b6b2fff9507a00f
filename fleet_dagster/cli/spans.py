"""`--from` and `--to`: days or instants, read in the fleet's time zone."""

import datetime as dt
import re
import zoneinfo

import click

from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_FROM = "First day, or first instant. Without an offset: the fleet's time zone."
_TO = "Last day, which is included whole; or the instant at which the span ends."
_FORM = "DAY|INSTANT"
from_option = click.option("--from", "start", required=True, metavar=_FORM, help=_FROM)
to_option = click.option("--to", "end", required=True, metavar=_FORM, help=_TO)
optional_from = click.option("--from", "start", metavar=_FORM, help=_FROM)
optional_to = click.option("--to", "end", metavar=_FORM, help=_TO)


def span_between(config: FleetConfig, start: str, end: str) -> Span:
    """Return the span that `--from` and `--to` name."""
    first, last = read_instant(config, start, name="--from"), read_instant(config, end, name="--to")
    if _DAY.match(end):
        last = _midnight(config, dt.date.fromisoformat(end) + dt.timedelta(days=1))
    if last <= first:
        message = f"--from {start} is not before --to {end}. Swap the two, or name a later end."
        raise click.BadParameter(message, param_hint="--to")
    return Span(first, last)


def read_instant(config: FleetConfig, text: str, *, name: str) -> int:
    """Return an instant, or the first one of a day, from ISO 8601 text [us]."""
    try:
        if _DAY.match(text):
            return _midnight(config, dt.date.fromisoformat(text))
        stamp = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        message = f"{text!r} is neither a day (2026-01-31) nor an instant (2026-01-31T12:00:00Z)."
        raise click.BadParameter(message, param_hint=name) from error
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=zoneinfo.ZoneInfo(config.timezone))
    return (stamp - _EPOCH) // dt.timedelta(microseconds=1)


def _midnight(config: FleetConfig, day: dt.date) -> int:
    stamp = dt.datetime.combine(day, dt.time(), tzinfo=zoneinfo.ZoneInfo(config.timezone))
    return (stamp - _EPOCH) // dt.timedelta(microseconds=1)
