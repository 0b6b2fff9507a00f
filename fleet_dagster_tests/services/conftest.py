"""A PostgreSQL server for the tests: the one that FLEET_TEST_POSTGRES_URL names, else one started for them alone."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster_tests.ports import free_port

OWNER = "postgres"
"""User that runs the server where the tests run as root, whom PostgreSQL refuses."""


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Return the address of a server on which databases can be made."""
    given = os.environ.get("FLEET_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="fleet-postgres-"))
    try:
        yield from _started(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def control_url(server_url: str) -> Iterator[str]:
    """Return the address of a new, empty database."""
    name = f"fleet_test_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield engine.url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def _started(folder: Path) -> Iterator[str]:
    """Start a throw-away cluster below a folder, and stop it at the end."""
    programs, data, port = _programs(), folder / "data", free_port()
    prefix = _as_owner(folder)

    def run(program: str, *arguments: str) -> None:
        command = [*prefix, str(programs / program), "-D", str(data), *arguments]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments

    run("initdb", "-U", "fleet", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    options = f"-p {port} -h 127.0.0.1 -k '' -F"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://fleet@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")


def _programs() -> Path:
    """Return the folder of PostgreSQL's server programs."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if installed:
        return installed[-1].parent
    if on_path:
        return Path(on_path).resolve().parent
    pytest.fail(
        "PostgreSQL's initdb is neither in /usr/lib/postgresql/*/bin nor on the PATH. Install Debian's package "
        "`postgresql`, or name a server in FLEET_TEST_POSTGRES_URL (postgresql+psycopg://user:password@host/database)"
    )


def _as_owner(folder: Path) -> list[str]:
    """Return what to put before a command so that it may own a cluster in the folder."""
    if os.getuid() != 0:
        return []
    owner = pwd.getpwnam(OWNER)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids]
