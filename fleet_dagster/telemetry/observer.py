"""`Observer`: takes what nodes report, judges and stores it, and exports it where OTLP is configured."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from fleet_dagster.core.windows import Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import StorageError
from fleet_dagster.model.node_report import JudgedReport, Judgement, NodeReport, Source
from fleet_dagster.storage.store import Store

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from fleet_dagster.telemetry.otlp import Otlp

_log = logging.getLogger(__name__)


class Observer:
    """What a `Refresh` is given as `observe`. That a report cannot be stored or sent is said once, and fails no node."""

    def __init__(
        self,
        store: Store,
        config: FleetConfig,
        *,
        otlp: "Otlp | None" = None,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self.store, self.config, self.otlp, self.say = store, config, otlp, say
        self.judged: list[JudgedReport] = []
        """Reports taken since `refreshing` began."""
        self._parent: Context | None = None
        self._has_failed = False

    def __call__(self, report: NodeReport) -> None:
        """Take a report."""
        judged = self._stored(report)
        self.judged.append(judged)
        if self.otlp is not None:
            self.otlp.report(judged, self._parent)

    @contextmanager
    def refreshing(self, span: Span, *, source: Source, run_id: str = "") -> Iterator[None]:
        """Show the nodes that report meanwhile as parts of one refresh; what is to be sent goes out afterwards."""
        self.judged = []
        if self.otlp is None:
            yield
            return
        with self.otlp.refresh(self.config.name, span, source=source, run_id=run_id) as parent:
            self._parent = parent
            try:
                yield
            finally:
                self._parent = None
        self.otlp.send()

    def _stored(self, report: NodeReport) -> JudgedReport:
        thresholds = self.config.streamsight.of(report.node)
        try:
            judged = self.store.node_reports.record(report, thresholds)
        except (StorageError, sa.exc.SQLAlchemyError) as error:
            if not self._has_failed:
                words = "fleet %s: what %s did is not recorded, nor what others do until that is mended: %s"
                self.say(words % (report.fleet, report.node, error))
            self._has_failed = True
            return JudgedReport(report, Judgement(None, ()))
        self._has_failed = False
        return judged


def standing(store: Store, fleet: str) -> dict[str, JudgedReport]:
    """Return the newest judgement of each node: what checks outside of runs are evaluated from."""
    return store.node_reports.newest(fleet)
