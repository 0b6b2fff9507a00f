"""The text of a new fleet's file: valid YAML, with a comment wherever a person will want to change something."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_HEAD = """\
# yaml-language-server: $schema=fleet.schema.json
# A fleet: what its sites measure, where they are, and how their telemetry arrives.
# Check it with `fleet validate`; all fields: docs/reference/configuration.md or `fleet config schema`.

# Lower case letters, digits and _; part of every table row and asset name.
name: {name}

# small: 50 sites, 4 regions. medium: 200 sites, 16 regions. large: 1000 sites, 64 regions, 30 s windows.
profile: {profile}

# Telemetry from before this day (in `timezone`) is not taken. Changing it later asks for a reload of the code location.
start_date: {start_date}
timezone: UTC

# Share of each KPI, of uptime and of faults in a site's health: energy, manufacturing, logistics, or spelled out.
health_weights: {health_weights}

# Up to 16 KPIs, most important first: the presets weigh them in this order. lo and hi are the ends of the usual range.
# direction: higher is better, lower is better, or band (best between target_lo and target_hi).
kpis:
{kpis}
# Which site lies in which region. Telemetry of a site that is not listed counts as region `unmapped`.
# Optional per site: weight (rated capacity), critical, depends_on (upstream sites), latitude, longitude, valid_from.
region_mappings:
{region_mappings}
# How the columns of your files are called. A KPI not listed under kpis: is read from the column of its own name.
source:
  site_id: site_id
  timestamp: timestamp
  # time_format: iso8601    # or unix_s, unix_ms
  # timezone: UTC           # of stamps without an offset
  # received_at: received   # when each snapshot first arrived, for replays
  # status: status          # 0 online, 1 degraded, 2 faulted, 3 offline, or these words
  # kpis:
  #   {first_kpi}: {{column: "my column", unit: {first_unit}}}
"""


def fleet_file(content: Mapping[str, Any]) -> str:  # Any: the content of a YAML file
    """Return the commented file of a fleet."""
    first = content["kpis"][0]
    scalars = {
        name: str(content[name]) for name in ("name", "profile", "start_date", "health_weights")
    }
    return _HEAD.format(
        **scalars,
        kpis=_lines(content["kpis"]),
        region_mappings=_lines(content["region_mappings"]),
        first_kpi=first["name"],
        first_unit=_flow(first["unit"]),
    )


def _lines(records: Sequence[Mapping[str, Any]]) -> str:  # Any: the content of a YAML file
    return "".join(f"  - {_flow(dict(record))}\n" for record in records)


def _flow(value: Any) -> str:  # Any: the content of a YAML file
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
