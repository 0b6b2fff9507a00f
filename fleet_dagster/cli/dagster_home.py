"""Dagster's own folder: made, given the settings of `dagster.yaml`, and opened as an instance."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from fleet_dagster.storage.installation import Installation

SETTINGS, WORKSPACE = "dagster.yaml", "workspace.yaml"
_PROJECT = Path(__file__).parents[2]
_DEFAULTS = {
    SETTINGS: "telemetry:\n  enabled: false\nnux:\n  enabled: false\n",
    WORKSPACE: (
        "load_from:\n  - python_module:\n      module_name: fleet_dagster.definitions\n"
        "      location_name: fleets\n"
    ),
}


def prepare_dagster_home(installation: Installation) -> Path:
    """Create Dagster's folder with its settings; returns the workspace file that loads this package.

    The settings are those of `dagster.yaml` here, else of this project, else plain ones. A copy that already stands is
    replaced only where it differs.
    """
    home = installation.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    for name in (SETTINGS, WORKSPACE):
        text, target = _given(name), home / name
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    return home / WORKSPACE


@contextmanager
def dagster_instance(installation: Installation) -> Iterator[dg.DagsterInstance]:
    """Open the installation's Dagster instance, quietly: what runs log is in the UI."""
    prepare_dagster_home(installation)
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with dg.DagsterInstance.from_config(str(installation.dagster_home)) as instance:
            yield instance
    finally:
        logging.disable(before)


def _given(name: str) -> str:
    for folder in (Path.cwd(), _PROJECT):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    return _DEFAULTS[name]
