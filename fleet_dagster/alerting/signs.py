"""Signs: what rules see, in event time: from an instant on something is wrong with a subject, or no longer is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_dagster.model.alerts import RuleName, Severity


@dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong."""

    severity: Severity
    headline: str
    detail: Mapping[str, Any]  # Any: JSON
    """`since` [us], `sites` and `regions`, and whatever the rule adds."""
    hold_us: int
    """How long it must be so before an alert opens."""


@dataclass(frozen=True, slots=True)
class Sign:
    """From an instant on [us], something is wrong with a subject of a rule; None: nothing is any more."""

    at: int
    rule: RuleName
    subject: str
    condition: Condition | None
