"""`fleet keys`, `fleet ledger` and `fleet verify`, as their users meet them."""

import json
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import SECOND
from fleet_dagster.storage.control.schema import ledger_entries
from fleet_dagster_tests.cli.cases import (
    compute,
    csv,
    done,
    fleet,
    installation,
    printed,
    write_fleet,
)

START = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z [us]."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a fleet with an hour of windows that is in its ledger."""
    folder = tmp_path_factory.mktemp("recorded")
    write_fleet(folder)
    done(fleet(folder, "import", "plant", csv(folder), "--historical"))
    compute(folder, START, START + 3600 * SECOND)
    done(fleet(folder, "keys", "init", "plant"))
    done(fleet(folder, "ledger", "append", "plant"))
    return folder


@pytest.fixture
def place(recorded: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(recorded, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(
    "words", [("ledger", "append"), ("keys", "show"), ("keys", "rotate")], ids=" ".join
)
def test_without_keys_a_fleet_is_told_to_make_some(tmp_path: Path, words: tuple[str, str]) -> None:
    write_fleet(tmp_path)
    result = fleet(tmp_path, *words, "plant")
    assert result.exit_code == 2
    assert "fleet keys init plant" in result.stderr


def test_keys_that_others_may_read_are_told_by_show_too(place: Path) -> None:
    (place / "home" / "keys" / "plant" / "log.pem").chmod(0o644)
    assert "0644" in fleet(place, "ledger", "show", "plant").stderr


def test_what_is_found_begins_with_its_kind_and_is_not_told_by_the_hundred(place: Path) -> None:
    with installation(place).store() as store, store.control.transaction() as tx:
        tx.execute(sa.delete(ledger_entries).where(ledger_entries.c.number >= 10))
    result = fleet(place, "verify", "plant")
    assert result.exit_code == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("  - ")]
    assert len(lines) == 10
    assert lines[0].startswith("  - missing: entry 10")
    assert "findings more; --json" in result.stdout
    assert printed_anyway(place) > 10


def printed_anyway(place: Path) -> int:
    """Return how many findings are in the JSON of a verification that fails."""
    return len(json.loads(fleet(place, "verify", "plant", "--json").stdout)["findings"])


def test_a_proof_names_its_window_and_is_verified_without_a_fleet(place: Path) -> None:
    policy, proof = place / "plant.policy", place / "proof"
    policy.write_text(fleet(place, "keys", "show", "plant", "--policy").stdout, encoding="utf-8")
    done(fleet(place, "ledger", "prove", "plant", "2026-01-05T00:07:00Z", "--output", proof))
    said = done(fleet(place, "verify", "--proof", proof, "--policy", policy))
    assert "window 2026-01-05T00:07:00Z, revision 0" in said
    both = fleet(place, "verify", "plant", "--proof", proof, "--policy", policy)
    assert both.exit_code == 2


def test_a_proof_that_too_few_have_vouched_for_is_made_with_a_warning(place: Path) -> None:
    done(fleet(place, "witness", "init", place / "w", "--name", "w.example"))
    vkey = printed(fleet(place, "witness", "show", place / "w", "--json"))["keys"][0]["key"]
    one = {"name": "w.example", "url": "http://127.0.0.1:9", "key": vkey}
    write_fleet(place, ledger={"witnesses": [one]})
    result = fleet(place, "ledger", "prove", "plant", "2026-01-05T00:07:00Z")
    assert result.exit_code == 0
    assert "Too few witnesses" in result.stderr
    assert result.stdout.startswith("c2sp.org/tlog-proof@v1")
