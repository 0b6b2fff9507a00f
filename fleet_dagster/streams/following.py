"""Following a stream: batches of deliveries, each written somewhere before the cursor moves past it."""

import time
from collections.abc import Callable, Sequence

from fleet_dagster.streams.deliveries import Delivery
from fleet_dagster.streams.subscription import Subscription

BATCH_ROWS = 20_000
BATCH_DELIVERIES = 5_000
BATCH_S = 1.0
"""A batch is written when it holds so much, or has waited so long."""
Write = Callable[[Sequence[Delivery]], None]


def pass_on(subscription: Subscription, write: Write, *, limit: int | None = None) -> int:
    """Write everything that waits, batch by batch; returns how many deliveries that were.

    What was written before a crash but not yet recorded is written again by the next run: at least once, never skipped.
    With a `limit`, so many deliveries at most.
    """
    n_done, n_rows, began = 0, 0, time.monotonic()
    batch: list[Delivery] = []
    for delivery in subscription.pending():
        batch.append(delivery)
        n_rows += delivery.rows.num_rows
        is_last = limit is not None and n_done + len(batch) >= limit
        is_full = n_rows >= BATCH_ROWS or len(batch) >= BATCH_DELIVERIES
        if is_last or is_full or time.monotonic() - began >= BATCH_S:
            n_done += _flush(subscription, write, batch)
            batch, n_rows, began = [], 0, time.monotonic()
        if is_last:
            return n_done
    return n_done + _flush(subscription, write, batch)


def _flush(subscription: Subscription, write: Write, batch: Sequence[Delivery]) -> int:
    if batch:
        write(batch)
        subscription.done(batch[-1])
    return len(batch)
