import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet_dagster.cli.main import main
from fleet_dagster.core.windows import DAY, HOUR, floor_to, iso_day
from fleet_dagster.storage.clock import now_us
from fleet_dagster_tests.cli.cases import done, printed
from fleet_dagster_tests.dagster_layer.plants import content, install, land


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fleets_are_kept_current_until_it_is_asked_to_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    closed = floor_to(now_us(), HOUR)
    installation = install(tmp_path, content(start_date=iso_day(closed - DAY)))
    land(installation, closed - 3 * HOUR, closed)
    place = ["--home", str(installation.home), "--fleets", str(installation.fleets_folder)]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", "live", "--no-dagster", "--json"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, *place], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        kinds: list[str] = []
        while "caught_up" not in kinds:
            kinds.append(json.loads(process.stdout.readline())["kind"])
        status = done(CliRunner().invoke(main, ["status", "plant", *place]))
        looked = printed(CliRunner().invoke(main, ["doctor", "--port", "0", "--json", *place]))
        os.kill(process.pid, number)
        out, told = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    with installation.store() as store:
        reports = store.node_reports.newest("plant").values()
    assert {judged.report.source for judged in reports} == {"live"}
    assert kinds[:2] == ["started", "behind"]
    assert "live      kept current by" in status
    assert [f["is_fine"] for f in looked if f["what"] == "live plant"] == [True]
    assert json.loads(out.splitlines()[-1])["kind"] == "ended"
    assert told.splitlines()[-1] == "Ended."
    assert "kept current by" not in done(CliRunner().invoke(main, ["status", "plant", *place]))


def test_a_fleet_that_no_file_defines_is_refused(tmp_path: Path) -> None:
    installation = install(tmp_path, content())
    place = ["--home", str(installation.home), "--fleets", str(installation.fleets_folder)]
    refused = CliRunner().invoke(main, ["live", "--fleet", "nobody", *place])
    assert refused.exit_code == 2
    assert "nobody" in refused.output
