import datetime as dt

import pytest

from fleet_dagster.core.windows import HOUR, MINUTE
from fleet_dagster.model.partition_keys import partition_key
from fleet_dagster.partitions import keys_touching, partitions_of, span_of
from fleet_dagster_tests.fleets import config


def _us(month: int, day: int, hour: int) -> int:
    return int(dt.datetime(2026, month, day, hour, tzinfo=dt.UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("partition", ["daily", "hourly"])
def test_a_window_s_partition_is_the_one_that_dagster_finds(zone: str, partition: str) -> None:
    settings = config(timezone=zone, partition=partition, start_date="2026-01-01")
    partitions = partitions_of(settings)
    known = set(partitions.get_partition_keys(current_time=dt.datetime(2026, 12, 1, tzinfo=dt.UTC)))
    begins = [_us(3, 8, 0), _us(3, 28, 22), _us(10, 24, 21), _us(11, 1, 3)]
    for begin in begins:
        for instant in range(begin, begin + 9 * HOUR, 30 * MINUTE):
            key = partition_key(settings, instant)
            assert key in known
            span = span_of(partitions, key)
            assert span.start <= instant < span.end
            assert key in keys_touching(partitions, span, now=instant + HOUR)
