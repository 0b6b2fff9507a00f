import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fleet_dagster.cli.main import main
from fleet_dagster.model.ledger import LedgerSettings, ledger_problems
from fleet_dagster_tests.cli.cases import done, printed
from fleet_dagster_tests.ledger.witness import scene

LOG = scene.memory_log()
VKEYS = [key.verifier.vkey for key in LOG.keys]


def witness(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["witness", *(str(a) for a in arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a new witness."""
    done(witness("init", tmp_path / "w", "--name", scene.NAME))
    return tmp_path / "w"


def test_a_witness_is_made_with_two_keys_that_fit_a_fleet_s_file(tmp_path: Path) -> None:
    made = witness("init", tmp_path / "w", "--name", scene.NAME)
    vkeys = made.stdout.splitlines()
    assert len(vkeys) == 2
    shown = printed(witness("show", tmp_path / "w", "--json"))
    assert (shown["name"], [k["key"] for k in shown["keys"]]) == (scene.NAME, vkeys)
    assert [k["type"] for k in shown["keys"]] == ["0x04", "0x06"]
    for vkey in vkeys:
        one = {"name": scene.NAME, "url": "https://witness.example", "key": vkey}
        settings = LedgerSettings.model_validate(yaml.safe_load(json.dumps({"witnesses": [one]})))
        assert list(ledger_problems(settings)) == []


def test_a_second_witness_in_a_folder_is_refused(folder: Path) -> None:
    again = witness("init", folder, "--name", "other")
    assert again.exit_code == 2
    assert "there is a witness already" in again.output
    assert printed(witness("show", folder, "--json"))["name"] == scene.NAME


def test_logs_are_trusted_and_shown(folder: Path) -> None:
    done(witness("trust", folder, *VKEYS))
    (log,) = printed(witness("show", folder, "--json"))["ledgers"]
    assert (log["origin"], log["size"], log["cosigned_at"]) == (scene.ORIGIN, 0, None)
    assert [k["key"] for k in log["trusts"]] == sorted(VKEYS)
    shown = done(witness("show", folder))
    assert f"{scene.ORIGIN}: never vouched for" in shown
    assert shown.index("ML-DSA-44, safe") < shown.index("Ed25519; short")
    done(witness("distrust", folder, VKEYS[0], VKEYS[1]))
    assert "trusts no key of it any more" in done(witness("show", folder))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nowhere"], "there is no witness"),
        (["trust", "nowhere", VKEYS[0]], "there is no witness"),
        (["serve", "nowhere"], "there is no witness"),
        (["init", "nowhere", "--name", "a b"], "has spaces"),
        (["init", "nowhere"], "--name"),
        (["trust", "nowhere"], "KEY"),
        (["trust", "nowhere", "plant+00+AAAA"], "signature type 0x00"),
    ],
)
def test_wrong_use_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = witness(*arguments)
    assert found.exit_code == 2
    assert words in found.output
    assert not list(tmp_path.iterdir())


def test_a_witness_s_key_is_not_a_log_s(folder: Path) -> None:
    own = printed(witness("show", folder, "--json"))["keys"][0]["key"]
    found = witness("trust", folder, own)
    assert found.exit_code == 2
    assert "expected a log's" in found.output


def test_keys_that_others_may_read_are_not_served(folder: Path) -> None:
    (folder / "keys" / "witness.pem").chmod(0o640)
    found = witness("serve", folder, "--port", "0")
    assert found.exit_code == 2
    assert "chmod 600" in found.output


def test_a_port_in_use_is_told_in_words(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = witness("serve", folder, "--port", str(port))
    assert found.exit_code == 2
    assert f"port {port} of 127.0.0.1" in found.output
    assert "--port" in found.output


def test_a_certificate_that_is_none_is_told_in_words(folder: Path) -> None:
    junk = folder / "junk.pem"
    junk.write_text("junk")
    found = witness("serve", folder, "--port", "0", "--certfile", junk, "--keyfile", junk)
    assert found.exit_code == 2
    assert "cannot be used" in found.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_until_it_is_asked_to_end(folder: Path, number: signal.Signals) -> None:
    done(witness("trust", folder, *VKEYS))
    command = [sys.executable, "-m", "fleet_dagster.cli.main", "witness", "serve", str(folder)]
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--port", "0"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = re.search(r"answers at (\S+)", process.stderr.readline())
        assert found is not None
        assert scene.post(found[1], LOG.submission(0, 5)).status == 200
        os.kill(process.pid, number)
        out, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (0, "")
    first, last = told.splitlines()
    assert first.endswith("UTC 'esn/fleet/plant' 0 -> 5: 200")
    assert last == "Ended."
    assert f"{scene.ORIGIN}: 5 entries, root" in done(witness("show", folder))
