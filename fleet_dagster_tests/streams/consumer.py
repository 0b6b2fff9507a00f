"""What a process of its own does in tests that kill consumers; see `installations.at_work`."""

import json
from pathlib import Path

from fleet_dagster.storage.store import Store
from fleet_dagster.streams import deliveries, following
from fleet_dagster.streams.following import pass_on
from fleet_dagster.streams.outputs import JsonLines, end_torn_line
from fleet_dagster.streams.subscription import subscribe
from fleet_dagster_tests.streams import fleet_windows as fw

NAME = "killed"


def consume(home: Path, file: Path) -> None:
    """Append all that waits to a file, in many small pieces and batches."""
    deliveries.PIECE_ROWS, following.BATCH_DELIVERIES = 2, 3
    with (
        Store.at(home) as store,
        file.open("a", encoding="utf-8") as out,
        subscribe(store, fw.CONFIG, fw.STREAM, NAME) as subscription,
    ):
        end_torn_line(out)
        pass_on(subscription, JsonLines(store, fw.CONFIG.name, out).write)


def told(file: Path) -> list[tuple[int, str]]:
    """Return the entries and windows that a file tells of; a line that a kill tore apart counts for nothing."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.append((int(row["seq"]), str(row["window_start"])))
    return found
