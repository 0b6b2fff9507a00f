import http.client
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.tokens import Tokens
from fleet_dagster_tests.cli.cases import done, fleet, installation, printed, write_fleet

TOKEN = re.compile(r"fleet_[A-Za-z0-9_-]{43}\Z")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an installation with one fleet."""
    write_fleet(tmp_path)
    return tmp_path


def test_a_token_is_printed_once_and_listed_without_its_secret(folder: Path) -> None:
    made = fleet(folder, "tokens", "create", "wall display", "--expires", "8h")
    secret = made.stdout.strip()
    assert TOKEN.match(secret)
    assert secret not in made.stderr
    (listed,) = printed(fleet(folder, "tokens", "list", "--json"))
    assert (listed["name"], listed["role"], listed["state"]) == ("wall display", "viewer", "valid")
    assert secret not in json.dumps(listed)
    assert "wall display" in done(fleet(folder, "tokens", "list"))
    with installation(folder).store() as store:
        found = Tokens(store.control).find(secret)
        assert found is not None
        assert abs((found.expires_at or 0) - now_us() - 8 * 3_600_000_000) < 60_000_000


def test_a_token_for_one_fleet_needs_that_fleet(folder: Path) -> None:
    secret = done(fleet(folder, "tokens", "create", "x", "--fleet", "plant", "--role", "operator"))
    assert secret
    assert printed(fleet(folder, "tokens", "list", "--json"))[0]["fleet"] == "plant"
    assert fleet(folder, "tokens", "create", "x", "--fleet", "nowhere").exit_code == 2
    assert fleet(folder, "tokens", "create", "x", "--expires", "soon").exit_code == 2
    assert fleet(folder, "tokens", "create", " ").exit_code == 2


def test_a_revoked_token_counts_no_more(folder: Path) -> None:
    done(fleet(folder, "tokens", "create", "x", "--expires", "never"))
    (one,) = printed(fleet(folder, "tokens", "list", "--json"))
    assert one["expires_at"] is None
    done(fleet(folder, "tokens", "revoke", one["token_id"]))
    assert printed(fleet(folder, "tokens", "list", "--json"))[0]["state"] == "revoked"
    assert fleet(folder, "tokens", "revoke", one["token_id"]).exit_code == 1


def test_nobody_has_done_anything_at_first(folder: Path) -> None:
    assert done(fleet(folder, "tokens", "actions")) == "Nobody has done anything.\n"
    assert printed(fleet(folder, "tokens", "actions", "plant", "--json")) == []
    assert "There are no tokens" in done(fleet(folder, "tokens", "list"))


def test_a_port_in_use_is_said_in_words(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = fleet(folder, "dashboard", "--port", str(taken.getsockname()[1]))
    assert answer.exit_code == 2
    assert "cannot be listened at" in answer.output


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the command in a process of its own; yields it and what it said first."""
    arguments = ["--home", folder / "home", "--fleets", folder / "fleets", "dashboard"]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", *map(str, arguments)]
    master, slave = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*command, "--port", "0", "--no-browser", *options], stdout=slave, stderr=slave
    )
    os.close(slave)
    said = b""
    try:
        while b"The dashboard is at" not in said or not said.endswith(b"\n"):
            said += os.read(master, 4096)
        yield process, said.decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_a_terminal_the_address_lets_one_in_until_the_command_ends(
    folder: Path, number: signal.Signals
) -> None:
    with running(folder) as (process, said):
        match = re.search(r"http://127\.0\.0\.1:(\d+)/#token=(\S+)", said)
        assert match is not None
        port, secret = int(match.group(1)), match.group(2)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        own = {"Authorization": f"Bearer {secret}"}
        connection.request("GET", "/api/fleets/plant/events", headers=own)
        stream = connection.getresponse()
        assert stream.status == 200
        assert stream.readline()
        began = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=20)
        assert process.returncode == 0
        assert time.monotonic() - began < 10
        stream.close()
        connection.close()
    with installation(folder).store() as store:
        found = Tokens(store.control).find(secret)
        assert found is not None
        assert found.state(now_us()) == "revoked"


def test_other_addresses_without_tls_are_warned_of(folder: Path) -> None:
    with running(folder, "--host", "0.0.0.0") as (_, said):  # noqa: S104 - that is what is warned of
        assert "Warning: 0.0.0.0 can be reached from other machines" in said


def test_elsewhere_it_says_where_it_is_and_how_to_log_in(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ender = threading.Thread(target=_end_when_it_answers, args=(port,))
    ender.start()
    answer = fleet(folder, "dashboard", "--port", str(port), "--dagster-url", "http://d.example/")
    ender.join()
    assert answer.exit_code == 0
    assert f"The dashboard is at http://127.0.0.1:{port}/. Log in with a token" in answer.stderr
    assert printed(fleet(folder, "tokens", "list", "--json")) == []


def _end_when_it_answers(port: int) -> None:
    for _ in range(400):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().read() == b"ok":
                os.kill(os.getpid(), signal.SIGTERM)
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
