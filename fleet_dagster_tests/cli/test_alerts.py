import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from fleet_dagster.alerting.passes import CONSUMER, STREAM, Alerting
from fleet_dagster.core.windows import MINUTE, Span, floor_to
from fleet_dagster.model.tables import FLEET_CORRELATION
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.control import schema
from fleet_dagster.streams.subscription import held_alone
from fleet_dagster_tests.alert_rows import NAME, SITES, START, incident
from fleet_dagster_tests.alert_rows import fleet as fleet_of
from fleet_dagster_tests.alert_rows import write as write_rows
from fleet_dagster_tests.cli.cases import done, fleet, installation, printed
from fleet_dagster_tests.installations import new_home
from fleet_dagster_tests.receivers import http_receiver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an installation whose fleet has an open incident; of its two destinations nobody listens at one."""
    with http_receiver() as receiver:
        gone = receiver.url("/tokentoken")
    write(tmp_path, ("gone", gone), ("unset", "env:FLEET_TEST_UNSET"))
    happens(tmp_path)
    with installation(tmp_path).store() as store:
        Alerting(store, installation(tmp_path).config(NAME), {}).run(now_us())
    return tmp_path


def happens(folder: Path) -> None:
    """Write an incident that opened two minutes ago."""
    first = floor_to(now_us(), MINUTE) - 2 * MINUTE
    row = incident((first - START) // MINUTE, sites=SITES[:30])
    with installation(folder).store() as store:
        write_rows(store, FLEET_CORRELATION, Span(first, first + MINUTE), [row])


def write(folder: Path, *destinations: tuple[str, str]) -> None:
    new_home(folder / "home")
    config = fleet_of(*destinations, n_sites=30)
    file = folder / "fleets" / "plant.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")


def shown(folder: Path, number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = printed(fleet(folder, "alerts", "show", str(number), "--json"))
    return found


def test_open_alerts_are_listed_within_80_columns(folder: Path) -> None:
    text = done(fleet(folder, "alerts", "list"))
    assert "critical" in text
    assert max(map(len, text.splitlines())) <= 80
    assert (
        f"{shown(folder)['first_at'][:10]} " in text
    )  # the year in full: 26-11-22 might be a day of 2022
    (alert,) = printed(fleet(folder, "alerts", "list", NAME, "--json"))
    assert (alert["alert_id"], alert["state"], alert["rule"]) == (1, "open", "incident")
    assert alert["detail"]["since"] < alert["first_at"] == alert["opened_at"]


def test_an_alert_is_shown_with_what_was_sent_and_no_address(folder: Path) -> None:
    text = done(fleet(folder, "alerts", "show", "1"))
    assert "Simultaneous incident: 30 sites in 16 regions" in text
    assert "Message 1 to gone (opened): waits after 1 attempt; A Connection error" in text
    assert "Message 2 to unset (opened): waits after 1 attempt; environment variable" in text
    assert "tokentoken" not in text
    assert [m["destination"] for m in shown(folder)["messages"]] == ["gone", "unset"]


def test_an_alert_is_acknowledged_with_what_it_turned_out_to_be(folder: Path) -> None:
    said = ("--by", "ann", "--note", "pump", "--truth", "fault", "--cause", SITES[3])
    assert fleet(folder, "alerts", "ack", "1", *said).exit_code == 0
    known = shown(folder)["acknowledged"]
    assert {k: known[k] for k in ("by", "note", "truth", "cause")} == {
        "by": "ann",
        "note": "pump",
        "truth": "fault",
        "cause": SITES[3],
    }
    assert "acknowledged" in done(fleet(folder, "alerts", "list"))
    assert "Acknowledged by ann" in done(fleet(folder, "alerts", "show", "1"))
    stranger = fleet(folder, "alerts", "ack", "1", "--by", "ann", "--cause", "nobody")
    assert stranger.exit_code == 2
    assert "site 'nobody' does not belong to it" in stranger.stderr


def test_a_truth_that_labels_nothing_is_said_to(folder: Path) -> None:
    with installation(folder).store() as store, store.control.transaction() as connection:
        connection.execute(sa.update(schema.alerts).values(rule="region"))
    said = fleet(folder, "alerts", "ack", "1", "--by", "ann", "--truth", "fault")
    assert said.exit_code == 0
    assert "no incident (rule region)" in said.stderr
    assert "labels no training data" in said.stderr
    assert "labels" not in fleet(folder, "alerts", "ack", "1", "--by", "ann").stderr


@pytest.mark.parametrize("name", ["", " ", "x" * 129])
def test_whoever_says_something_has_a_name(folder: Path, name: str) -> None:
    length = ("--for", "1h", "--reason", "works")
    for command in (("ack", "1"), ("silence", NAME, *length), ("unsilence", "1")):
        found = fleet(folder, "alerts", *command, "--by", name)
        assert found.exit_code == 2
        assert "expected 1 to 128 characters" in " ".join(found.stderr.split())
    assert shown(folder)["acknowledged"] is None


def test_alerts_are_silenced_and_silences_ended(folder: Path) -> None:
    what = (
        "--rule",
        "incident",
        "--subject",
        "i*",
        "--for",
        "4h",
        "--reason",
        "works",
        "--by",
        "ann",
    )
    begun = fleet(folder, "alerts", "silence", NAME, *what)
    assert "Silence 1 holds until" in begun.stderr
    assert "silenced" in done(fleet(folder, "alerts", "list"))
    (one,) = printed(fleet(folder, "alerts", "silences", "--json"))
    assert (one["rule"], one["subject"], one["reason"]) == ("incident", "i*", "works")
    assert "works (ann)" in done(fleet(folder, "alerts", "silences"))
    assert fleet(folder, "alerts", "unsilence", "1", "--by", "bob").exit_code == 0
    assert fleet(folder, "alerts", "unsilence", "1", "--by", "bob").exit_code == 1
    assert "Nothing is silenced." in done(fleet(folder, "alerts", "silences"))


@pytest.mark.parametrize("length", ["4", "0h", "-1h", "91d", "4 h", "x"])
def test_a_silence_needs_a_length_that_makes_sense(folder: Path, length: str) -> None:
    tried = fleet(
        folder, "alerts", "silence", NAME, f"--for={length}", "--reason", "x", "--by", "y"
    )
    assert tried.exit_code == 2
    assert "such as 30m, 4h or 2d" in tried.stderr


def test_a_test_message_arrives_or_the_reason_is_told(folder: Path) -> None:
    failed = fleet(folder, "alerts", "test", NAME, "gone")
    assert failed.exit_code == 1
    assert "Destination 'gone': A Connection error" in failed.stderr
    assert "tokentoken" not in failed.output
    assert fleet(folder, "alerts", "test", NAME, "unset").exit_code == 1
    unknown = fleet(folder, "alerts", "test", NAME, "nobody")
    assert unknown.exit_code == 2
    assert "it has: gone, unset" in unknown.stderr
    with http_receiver() as receiver:
        write(folder, ("ops", receiver.url()))
        assert fleet(folder, "alerts", "test", NAME, "ops").exit_code == 0
        assert receiver.titles == ["[plant] test"]


def test_a_pass_without_dagster_sends_what_is_new_once(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        write(tmp_path, ("ops", receiver.url()))
        assert "plant: 0 opened, 0 resolved" in done(fleet(tmp_path, "alerts", "run", NAME))
        happens(tmp_path)
        assert "1 opened, 0 resolved, 1 open; 1 sent" in done(fleet(tmp_path, "alerts", "run"))
        assert "0 opened, 0 resolved, 1 open; 0 sent" in done(fleet(tmp_path, "alerts", "run"))
        assert len(receiver.got) == 1


def test_a_pass_that_does_not_arrive_is_a_no(tmp_path: Path) -> None:
    write(tmp_path, ("unset", "env:FLEET_TEST_UNSET"))
    happens(tmp_path)
    tried = fleet(tmp_path, "alerts", "run")
    assert tried.exit_code == 1
    assert "environment variable FLEET_TEST_UNSET is not set" in tried.stdout


def test_what_there_is_not_is_a_no(folder: Path) -> None:
    for command in (("show", "9"), ("ack", "9", "--by", "ann")):
        tried = fleet(folder, "alerts", *command)
        assert tried.exit_code == 1
        assert "There is no alert 9" in tried.stderr
    assert fleet(folder, "alerts", "list", "nobody").exit_code == 2


def test_an_installation_without_alerts_says_so(tmp_path: Path) -> None:
    write(tmp_path)
    assert "No alert is open." in done(fleet(tmp_path, "alerts", "list"))
    assert "There are no alerts." in done(fleet(tmp_path, "alerts", "list", "--all"))


def test_following_goes_on_until_it_is_interrupted(tmp_path: Path) -> None:
    write(tmp_path)
    place = ["--home", str(tmp_path / "home"), "--fleets", str(tmp_path / "fleets")]
    follow = ["alerts", "run", "--follow", "--every", "1"]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", *place, *follow]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
    assert lines == ["plant: 0 opened, 0 resolved, 0 open; 0 sent, 0 waiting\n"] * 2


def test_a_pass_where_another_is_at_it_is_a_no(folder: Path) -> None:
    config = installation(folder).config(NAME)
    with installation(folder).store() as store, held_alone(store, config, STREAM, CONSUMER):
        tried = fleet(folder, "alerts", "run")
    assert tried.exit_code == 1
    assert "follows it as 'alerting'" in tried.stderr
