"""Lengths of time as people write them: 30m, 4h, 2d."""

import re

import click

from fleet_dagster.core.windows import DAY, HOUR, MINUTE

_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([mhd])\Z")


def read_length(text: str, *, longest_days: int, name: str) -> int:
    """Return the length of time that an option names [us]."""
    match = _LENGTH.match(text)
    length = round(float(match.group(1)) * _UNITS[match.group(2)]) if match else 0
    if not 0 < length <= longest_days * DAY:
        message = f"{text!r} is not a length of time up to {longest_days}d, such as 30m, 4h or 2d."
        raise click.BadParameter(message, param_hint=name)
    return length
