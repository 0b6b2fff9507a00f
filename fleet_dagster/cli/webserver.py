"""`dagster dev` as a child: its web server, its daemon and its code server are its children."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_dagster.cli.children import HOST, Child
from fleet_dagster.storage.installation import Installation


def dagster_dev(installation: Installation, workspace: Path, port: int) -> Child:
    """Return the program, not yet started.

    It works in Dagster's folder, where no file can shadow a module. Its log begins anew.
    """
    log = installation.dagster_home / "dagster-dev.log"
    log.unlink(missing_ok=True)
    given = ("-w", str(workspace), "-h", HOST, "-p", str(port))
    return Child(
        name="Dagster",
        command=(sys.executable, "-P", "-m", "dagster", "dev", *given),
        log=log,
        folder=installation.dagster_home,
        environment=installation.environment(),
        url=f"http://{HOST}:{port}",
        probe="/server_info",
    )


@contextmanager
def webserver(installation: Installation, workspace: Path, port: int) -> Iterator[Child]:
    """Run `dagster dev` while the block runs."""
    with dagster_dev(installation, workspace, port) as child:
        yield child
