"""The name of the Dagster partition that holds a window, told without Dagster."""

import datetime as dt
from zoneinfo import ZoneInfo

from fleet_dagster.model.config import FleetConfig

DAY_FORMAT = "%Y-%m-%d"
HOUR_FORMAT = "%Y-%m-%d-%H:%M"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def partition_key(config: FleetConfig, instant: int) -> str:
    """Return the key of the partition that holds an instant.

    Parameters
    ----------
    config : FleetConfig
        The fleet: how long its partitions are, and in which zone their days begin.
    instant : int
        Start of a window. [us]

    Returns
    -------
    str
        The local day, or day and hour. The second of two hours that a clock shows twice carries its offset from UTC.
    """
    local = (_EPOCH + dt.timedelta(microseconds=instant)).astimezone(ZoneInfo(config.timezone))
    if config.partition == "daily":
        return f"{local:{DAY_FORMAT}}"
    begun = local.replace(minute=0, second=0, microsecond=0)
    return f"{begun:{HOUR_FORMAT}}{_offset(begun)}"


def _offset(begun: dt.datetime) -> str:
    """Return the offset of an hour that is there twice, the second time; empty for any other."""
    is_twice = begun.replace(fold=0).utcoffset() != begun.replace(fold=1).utcoffset()
    return f"{begun:%z}" if is_twice and begun.fold else ""
