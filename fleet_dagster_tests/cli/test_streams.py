import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleet_dagster.core.windows import DAY
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.cli.cases import done, fleet, printed, write_fleet
from fleet_dagster_tests.streams import fleet_windows as fw

NAME = "fleet_kpi_stream"
ADDRESS = f"esn/fleet/plant/{NAME}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an installation whose fleet has three hours of windows, the second restated."""
    write_fleet(tmp_path, interval_s=3600)
    with opened(tmp_path) as store:
        fw.write(store, {0: 0.1, 1: 0.2, 2: 0.3}, fw.span(0, 3))
        fw.write(store, {1: 0.9}, fw.span(1, 2))
    return tmp_path


def opened(folder: Path) -> Store:
    return Store.at(folder / "home")


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_hold_what_happened_the_rows_and_their_history(folder: Path) -> None:
    found = lines(fleet(folder, "consume", ADDRESS, "--consumer", "me").stdout)
    first, head, restated = found[0], found[3], found[4]
    assert [line["kind"] for line in found] == ["append"] * 3 + ["restate"] * 2
    assert first["window_start"] == "2026-01-01T00:00:00Z"
    assert (first["fleet_health"], first["revision"], first["state"]) == (0.1, 0, "provisional")
    assert found[1]["fleet_health"] == 0.9  # as it stands
    assert {k: head[k] for k in ("from", "to", "rows")} == {
        "from": "2026-01-01T01:00:00Z",
        "to": "2026-01-01T02:00:00Z",
        "rows": 1,
    }
    assert (restated["fleet_health"], restated["revision"]) == (0.9, 1)
    assert "fleet" not in first
    assert "day" not in first


def test_the_next_command_goes_on_where_the_last_one_ended(folder: Path) -> None:
    assert len(lines(done(fleet(folder, "consume", NAME, "--consumer", "me", "--limit", "1")))) == 3
    assert len(lines(done(fleet(folder, "consume", NAME, "--consumer", "me")))) == 2
    assert done(fleet(folder, "consume", NAME, "--consumer", "me")) == ""
    assert len(lines(done(fleet(folder, "consume", NAME, "--consumer", "other")))) == 5


@pytest.mark.parametrize(
    ("where", "n_lines"),
    [("start", 5), ("end", 0), ("2026-01-01T01:00:00Z", 5), ("2026-02-01", 0), ("2", 2)],
)
def test_from_says_where_to_begin(folder: Path, where: str, n_lines: int) -> None:
    done(fleet(folder, "consume", NAME, "--consumer", "me"))
    found = done(fleet(folder, "consume", NAME, "--consumer", "me", "--from", where))
    assert len(lines(found)) == n_lines


def test_rows_as_committed(folder: Path) -> None:
    found = lines(done(fleet(folder, "consume", NAME, "--consumer", "me", "--as-committed")))
    assert [line.get("fleet_health") for line in found] == [0.1, 0.2, 0.3, None, 0.9]


def test_parquet_files_are_named_after_what_they_hold(folder: Path) -> None:
    out = folder / "out"
    for _ in range(2):
        done(fleet(folder, "consume", NAME, "--consumer", "p", "--out", out, "--from", "start"))
        assert [p.name for p in sorted(out.iterdir())] == [
            "000000000001-20260101T000000Z-append.parquet",
            "000000000002-20260101T010000Z-restate.parquet",
        ]
    rows = pq.read_table(out)
    assert rows.num_rows == 4
    assert rows.column("revision").to_pylist() == [0, 1, 0, 1]


def test_what_expired_is_said(folder: Path) -> None:
    done(fleet(folder, "consume", NAME, "--consumer", "slow", "--limit", "1"))
    with opened(folder) as store:
        fw.expire(store, 0)
    found = lines(done(fleet(folder, "consume", NAME, "--consumer", "slow")))
    assert [(line["kind"], line["from"]) for line in found] == [
        ("missed", "2026-01-01T01:00:00Z"),
        ("expire", "2026-01-01T00:00:00Z"),
    ]
    (shown,) = [s for s in printed(fleet(folder, "streams", "--json")) if s["stream"] == ADDRESS]
    (reader,) = shown["consumers"]
    assert reader["missed"] == [
        {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "entries": 1}
    ]


def test_streams_are_listed_with_their_readers(folder: Path) -> None:
    done(fleet(folder, "consume", NAME, "--consumer", "me", "--limit", "1"))
    shown = done(fleet(folder, "streams"))
    assert all(f"plant/{name}" in shown for name in STREAMS)
    assert "me: 1 behind" in shown
    assert max(map(len, shown.splitlines())) <= 80
    stream = next(n for n, line in enumerate(shown.splitlines()) if NAME in line)
    assert shown.splitlines()[stream + 1].strip() == "me: 1 behind"  # not wrapped
    assert shown.splitlines()[stream + 3].strip() == "nobody"


def test_one_stream_is_shown_with_its_columns(folder: Path) -> None:
    shown = done(fleet(folder, "streams", "show", "plant/site_ranking_stream"))
    assert "kept 90 days" in shown
    assert "ops_dashboard" in shown
    found = printed(fleet(folder, "streams", "show", NAME, "--json"))
    assert found["entries"] == 2
    assert {c["name"] for c in found["columns"]} == set(STREAMS[NAME].table.column_names)


def test_a_consumer_can_be_moved_and_removed(folder: Path) -> None:
    done(fleet(folder, "consume", NAME, "--consumer", "me"))
    done(fleet(folder, "streams", "rewind", NAME, "--consumer", "me", "--to", "start"))
    assert len(lines(done(fleet(folder, "consume", NAME, "--consumer", "me")))) == 5
    done(fleet(folder, "streams", "forget", NAME, "--consumer", "me"))
    missing = fleet(folder, "streams", "rewind", NAME, "--consumer", "me", "--to", "end")
    assert missing.exit_code == 2
    assert "it has no consumer 'me'" in missing.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["consume", "kpis", "--consumer", "me"], "Name one of fleet_kpi_stream"),
        (["consume", f"other/{NAME}", "--consumer", "me"], "'other' is not defined"),
        (["consume", NAME, "--consumer", "a b"], "expected 1 to 64 letters"),
        (["consume", NAME, "--consumer", "me", "--from", "soon"], "no place in a stream"),
        (["consume", NAME, "--consumer", "me", "--from", "77777"], "has no entry 77777"),
        (["consume", NAME], "--consumer"),
    ],
)
def test_wrong_use_is_told_in_words(folder: Path, arguments: list[str], words: str) -> None:
    found = fleet(folder, *arguments)
    assert found.exit_code == 2
    assert words in found.output


def test_a_consumer_cannot_be_moved_past_what_is_still_to_come(folder: Path) -> None:
    done(fleet(folder, "consume", NAME, "--consumer", "me"))
    newest = printed(fleet(folder, "streams", "show", NAME, "--json"))["newest_entry"]
    beyond = ("streams", "rewind", NAME, "--consumer", "me", "--to")
    refused = fleet(folder, *beyond, str(newest + 2))
    assert refused.exit_code == 2
    assert f"its newest is {newest}" in " ".join(refused.output.split())
    done(fleet(folder, *beyond, str(newest + 1)))
    with opened(folder) as store:
        fw.write(store, {3: 0.4}, fw.span(3, 4))
    assert len(lines(done(fleet(folder, "consume", NAME, "--consumer", "me")))) == 1


def test_a_stream_of_several_fleets_is_asked_for_by_fleet(folder: Path) -> None:
    write_fleet(folder, "other")
    found = fleet(folder, "consume", NAME, "--consumer", "me")
    assert found.exit_code == 2
    assert f"other/{NAME}, plant/{NAME}" in found.output


def test_following_prints_what_comes_until_it_is_interrupted(folder: Path) -> None:
    place = ["--home", str(folder / "home"), "--fleets", str(folder / "fleets")]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", *place]
    file = folder / "followed.jsonl"
    with file.open("w") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "consume", NAME, "--consumer", "tail", "--follow"], stdout=out
        )
        try:
            wait_for(file, 5)
            with opened(folder) as store:
                fw.write(store, {3: 0.4}, fw.span(3, 4))
            wait_for(file, 6)
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()
    assert lines(file.read_text())[-1]["fleet_health"] == 0.4


def wait_for(file: Path, n_lines: int) -> None:
    deadline = time.monotonic() + 60
    while len(file.read_text().splitlines()) < n_lines:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_retention_is_rehearsed_and_carried_out(folder: Path) -> None:
    rehearsed = printed(fleet(folder, "retention", "plant", "--dry-run", "--json"))
    kept = {t["table"]: t["kept_days"] for t in rehearsed["tables"]}
    assert kept["fleet_kpi"] == 730
    assert (
        "0 days would go. Nothing was removed"
        in fleet(folder, "retention", "plant", "--dry-run").output
    )
    assert "0 days removed" in done(fleet(folder, "retention", "plant"))


def test_retention_names_who_had_not_read_what_went(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(fleet(folder, "consume", NAME, "--consumer", "slow", "--limit", "1"))
    with opened(folder) as store:
        (entry, *_) = store.history.entries("fleet_kpi", "plant")
    late = entry.recorded_at + 731 * DAY
    monkeypatch.setattr("fleet_dagster.cli.retention.now_us", lambda: late)
    shown = done(fleet(folder, "retention", "plant"))
    assert "slow had not read 1 entry of fleet_kpi_stream about 2026-01-01" in shown
    assert "1 day removed" in shown
