"""Hypothesis profiles, quick at the desk, thorough and repeatable in CI; and what is loaded is left out of collections."""

import gc
import os
from importlib.util import find_spec

from hypothesis import HealthCheck, settings

settings.register_profile(
    "dev", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Only `make test-browser` installs what drives a browser, and it fails where it finds no test.
collect_ignore = [] if find_spec("playwright") else ["browser"]

# Half a million objects of loaded modules stay until the end: without this, every full collection looks at each of them.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but no longer among what collecting the tests has loaded."""
    gc.collect()
    gc.freeze()
    gc.enable()
