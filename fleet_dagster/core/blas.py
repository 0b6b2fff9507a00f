"""Products of matrices on one thread: threads cut a product into pieces, and pieces differ in their last bits."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Keep linear algebra on one thread for the time being.

    Yields
    ------
    None
        While the limit holds.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
