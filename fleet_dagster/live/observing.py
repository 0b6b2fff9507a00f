"""What a live engine shows of its nodes, to whoever observes them; by default to nobody."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.node_report import NodeReport, Source
from fleet_dagster.storage.store import Store


class Observing(Protocol):
    """Takes what nodes report, and is told which batch they are at."""

    def __call__(self, report: NodeReport, /) -> None:
        """Take a report."""

    def refreshing(
        self, span: Span, *, source: Source, run_id: str = ""
    ) -> AbstractContextManager[None]:
        """Take what is reported meanwhile as parts of one batch."""


MakeObserver = Callable[[Store, FleetConfig], Observing]
"""Makes what observes one thread's work on one fleet."""


class Unobserved:
    """Takes no notice."""

    def __call__(self, report: NodeReport, /) -> None:
        """Take no notice of a report."""

    def refreshing(
        self,
        span: Span,  # noqa: ARG002 - the protocol's
        *,
        source: Source,  # noqa: ARG002 - the protocol's
        run_id: str = "",  # noqa: ARG002 - the protocol's
    ) -> AbstractContextManager[None]:
        """Take no notice of a batch."""
        return nullcontext()


def unobserved(_store: Store, _config: FleetConfig) -> Observing:
    """Observe nothing."""
    return Unobserved()
