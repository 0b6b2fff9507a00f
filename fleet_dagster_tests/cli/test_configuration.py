import shutil
from pathlib import Path
from typing import Any

import pytest

from fleet_dagster.core.windows import HOUR
from fleet_dagster_tests.cli.cases import (
    compute,
    csv,
    done,
    fleet,
    installation,
    printed,
    write_fleet,
)
from fleet_dagster_tests.fleets import MIDNIGHT

DAY = "2026-01-05"
NOON = f"{DAY}T12:00:00Z"
MAPPINGS = [
    {"site_id": "S1", "region_id": "north"},
    {"site_id": "S2", "region_id": "south", "depends_on": ["S1"]},
]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation whose fleet's file has been applied, which no test changes."""
    folder = tmp_path_factory.mktemp("applied")
    write_fleet(folder)
    done(fleet(folder, "config", "apply", "plant"))
    return folder


@pytest.fixture
def plant(applied: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(applied, tmp_path, dirs_exist_ok=True)
    return tmp_path


def in_force(folder: Path) -> dict[str, Any]:
    """Return the newest version's record."""
    found: dict[str, Any] = printed(fleet(folder, "config", "history", "plant", "--json"))[-1]
    return found


def test_the_first_apply_holds_from_the_beginning_and_the_second_finds_nothing_to_do(
    tmp_path: Path,
) -> None:
    write_fleet(tmp_path)
    said = done(fleet(tmp_path, "config", "apply", "plant"))
    assert "version 1 is in force from the beginning" in said
    assert "already applied" in done(fleet(tmp_path, "config", "apply", "plant"))
    again = printed(fleet(tmp_path, "config", "apply", "plant", "--json"))
    assert again == {"fleet": "plant", "versions": [], "partitions": [], "recompute": None}


def test_an_edited_file_is_applied_from_the_window_that_follows(plant: Path) -> None:
    write_fleet(plant, min_good_pct=70)
    said = done(fleet(plant, "config", "apply", "plant", "--from", f"{DAY}T12:00:01Z"))
    assert "in force from 2026-01-05 12:01:00 UTC (the first window at or after" in said
    assert "min_good_pct: 80 → 70" in said


def test_apply_names_the_stored_days_it_alters_and_the_command_that_recomputes_them(
    plant: Path,
) -> None:
    """The command it names brings them up to date."""
    done(fleet(plant, "import", "plant", csv(plant), "--historical"))
    compute(plant, MIDNIGHT, MIDNIGHT + 24 * HOUR)
    write_fleet(plant, staleness_threshold_s=180)
    found = fleet(plant, "config", "apply", "plant", "--from", f"{DAY}T06:00Z")
    assert "Stored windows of 1 partition are no longer current" in done(found)
    command = f"fleet run plant --from {DAY} --to {DAY}"
    assert f"plant_file_sensor recomputes them; or now: {command}" in found.output
    done(fleet(plant, *command.split()[1:]))
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=3"))
    again = fleet(plant, "config", "set", "plant", "outlier_sigma=1", "--from", DAY, "--json")
    assert printed(again)["partitions"] == [DAY]
    assert printed(again)["recompute"] == command


def test_an_invalid_file_is_refused_and_nothing_applied(plant: Path) -> None:
    write_fleet(plant, min_good_pct=170)
    result = fleet(plant, "config", "apply", "plant")
    assert result.exit_code == 2
    assert "min_good_pct: found 170, expected at most 100" in result.output
    write_fleet(plant)
    assert in_force(plant)["version_no"] == 1


def test_diff_compares_the_file_with_what_is_in_force(plant: Path) -> None:
    assert "is what" in done(fleet(plant, "config", "diff", "plant"))
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=2"))
    changed = fleet(plant, "config", "diff", "plant")
    assert changed.exit_code == 1
    assert "outlier_sigma: 2 → 3" in changed.output
    assert "they win until its settings are edited" in changed.output
    write_fleet(plant, min_good_pct=70)
    edited = fleet(plant, "config", "diff", "plant", "--json")
    assert edited.exit_code == 1
    assert '"is_applied": false' in edited.stdout
    assert '"setting": "min_good_pct"' in edited.stdout


def test_apply_again_returns_to_a_file_that_was_applied_before(plant: Path) -> None:
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=2"))
    assert "fleet config apply plant --again" in fleet(plant, "config", "diff", "plant").output
    assert "--again" in done(fleet(plant, "config", "apply", "plant"))
    assert in_force(plant)["version_no"] == 2
    assert "outlier_sigma: 2 → 3" in done(fleet(plant, "config", "apply", "plant", "--again"))
    assert fleet(plant, "config", "diff", "plant").exit_code == 0


def test_a_change_counts_no_stored_window_before_the_first_that_it_governs(plant: Path) -> None:
    """Not even one of its day that is no longer current for another reason."""
    done(fleet(plant, "import", "plant", csv(plant), "--historical"))
    compute(plant, MIDNIGHT, MIDNIGHT + 24 * HOUR)
    late = csv(plant, f"S2,{DAY}T00:01:30Z,90,10", name="late.csv")
    done(fleet(plant, "import", "plant", late, "--historical"))
    move = ("regions", "move", "plant", "S1", "east", "--json", "--from")
    assert printed(fleet(plant, *move, "2026-01-06T00:01Z"))["partitions"] == []
    assert printed(fleet(plant, *move, "2100-01-01"))["partitions"] == []


def test_values_are_set_together_and_told(plant: Path) -> None:
    values = ["outlier_sigma=2", "health_weights=logistics", "weight.power=0.5"]
    said = done(fleet(plant, "config", "set", "plant", *values, "--from", NOON))
    assert "version 2 is in force from 2026-01-05 12:00:00 UTC" in said
    changes = {c["setting"]: c["new"] for c in in_force(plant)["changes"]}
    assert changes["outlier_sigma"] == 2
    assert changes["weight of KPI 01"] == 0.5
    assert changes["uptime_weight"] == 0.25


def test_a_threshold_of_0_is_the_profiles(plant: Path) -> None:
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=2"))
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=0"))
    assert in_force(plant)["changes"] == [{"setting": "outlier_sigma", "old": 2, "new": 3}]


def test_setting_what_is_set_already_changes_nothing(plant: Path) -> None:
    assert "in force already" in done(fleet(plant, "config", "set", "plant", "outlier_sigma=3"))
    assert in_force(plant)["version_no"] == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["outlier_sigma"], "not of the form NAME=VALUE"),
        (["outlier_sigma="], "not of the form NAME=VALUE"),
        (["outlier_sigma=1", "outlier_sigma=2"], "given twice"),
        (["outlier_sigma=1", "interval_s=60"], "is no setting"),
        (["outlier_sigma=1", "min_good_pct=101"], "expected at most 100"),
        (["weight.noise=1"], "no KPI 'noise'"),
    ],
)
def test_what_cannot_be_set_is_refused_whole(plant: Path, values: list[str], words: str) -> None:
    result = fleet(plant, "config", "set", "plant", *values)
    assert result.exit_code == 2
    assert words in result.output
    assert in_force(plant)["version_no"] == 1


def test_an_edit_warns_of_a_file_that_waits_to_be_applied(plant: Path) -> None:
    write_fleet(plant, min_good_pct=70)
    said = done(fleet(plant, "config", "set", "plant", "outlier_sigma=2"))
    assert "has edits that are not applied yet" in said
    done(fleet(plant, "config", "apply", "plant"))
    assert "is what" in done(fleet(plant, "config", "diff", "plant"))


def test_history_lists_who_changed_what_and_from_when(plant: Path) -> None:
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=2", "--from", NOON))
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=1", "--from", DAY))
    said = done(fleet(plant, "config", "history", "plant"))
    digest = in_force(plant)["digest"]
    assert f"version 3 ({digest})  from 2026-01-05 00:00:00 UTC" in said
    assert "from the beginning" in said
    assert "plant.yaml" in said
    assert "from 2026-01-05 12:00:00 UTC" in said
    assert "by fleet config set outlier_sigma=2; later versions have taken all" in said
    assert "outlier_sigma: 3 → 1" in said


def test_a_change_may_begin_in_the_future_or_before_all_time(plant: Path) -> None:
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=2", "--from", "2100-01-01"))
    assert fleet(plant, "config", "diff", "plant").exit_code == 0
    done(fleet(plant, "config", "set", "plant", "outlier_sigma=1", "--from", "1950-01-01"))
    history = printed(fleet(plant, "config", "history", "plant", "--json"))
    starts = [one["valid_from"] for one in history if one["is_in_force"]]
    assert starts == [None, "2100-01-01T00:00:00Z"]
    assert "outlier_sigma: 1 → 3" in fleet(plant, "config", "diff", "plant").output


def test_history_of_a_fleet_without_settings_says_what_to_do(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    assert "fleet config apply plant" in done(fleet(tmp_path, "config", "history", "plant"))
    assert printed(fleet(tmp_path, "config", "history", "plant", "--json")) == []


def listed(folder: Path, *options: str) -> dict[str, str]:
    rows = printed(fleet(folder, "regions", "list", "plant", "--json", *options))
    return {row["site_id"]: row["region_id"] for row in rows}


def test_regions_are_listed_as_of_an_instant(plant: Path) -> None:
    done(fleet(plant, "regions", "move", "plant", "S1", "east", "--from", NOON, "--weight", "2"))
    assert listed(plant) == listed(plant, "--at", NOON) == {"S1": "east", "S2": "south"}
    assert listed(plant, "--at", f"{DAY}T11:59:59Z") == {"S1": "north", "S2": "south"}
    said = done(fleet(plant, "regions", "list", "plant", "--at", NOON))
    assert "As of 2026-01-05 12:00:00 UTC" in said
    assert "east" in said


def test_a_move_keeps_what_is_not_named(plant: Path) -> None:
    options = ["--critical", "--depends-on", "S2", "--weight", "3"]
    done(fleet(plant, "regions", "move", "plant", "S1", "north", *options))
    done(fleet(plant, "regions", "move", "plant", "S1", "east"))
    rows = printed(fleet(plant, "regions", "list", "plant", "--json"))
    (row,) = [row for row in rows if row["site_id"] == "S1"]
    assert (row["weight"], row["critical"], row["depends_on"]) == (3, True, ["S2"])
    assert "lies in east already" in done(fleet(plant, "regions", "move", "plant", "S1", "east"))
    done(fleet(plant, "regions", "move", "plant", "S1", "east", "--not-critical"))
    assert in_force(plant)["changes"] == [
        {"setting": "site S1, critical", "old": True, "new": False}
    ]


def test_a_site_nobody_mapped_is_listed_as_unmapped_until_it_is_moved(plant: Path) -> None:
    done(fleet(plant, "import", "plant", csv(plant, f"X1,{NOON},20,100"), "--historical"))
    assert listed(plant)["X1"] == "unmapped"
    done(fleet(plant, "regions", "move", "plant", "X1", "north"))
    assert listed(plant)["X1"] == "north"
    done(fleet(plant, "regions", "unmap", "plant", "X1"))
    assert listed(plant)["X1"] == "unmapped"


def test_unmapping_a_site_that_nobody_mapped_says_so(plant: Path) -> None:
    assert "no mapping names site S9" in done(fleet(plant, "regions", "unmap", "plant", "S9"))


def test_a_site_that_others_depend_on_is_not_unmapped(tmp_path: Path) -> None:
    write_fleet(tmp_path, region_mappings=MAPPINGS)
    result = fleet(tmp_path, "regions", "unmap", "plant", "S1")
    assert result.exit_code == 2
    assert "site 'S2' depends_on 'S1'" in result.output
    with installation(tmp_path).store() as store:
        assert store.registry.versions("plant") == []


@pytest.mark.parametrize(
    "command",
    [("config", "apply"), ("config", "diff"), ("config", "history"), ("regions", "list")],
)
def test_a_fleet_nobody_defined_is_wrong_use(plant: Path, command: tuple[str, str]) -> None:
    result = fleet(plant, *command, "nowhere")
    assert result.exit_code == 2
    assert "Fleet 'nowhere' is not defined" in result.output


def test_rebaselining_is_a_version_from_its_instant_on_and_reads_well(plant: Path) -> None:
    said = done(fleet(plant, "config", "rebaseline", "S1", "--from", f"{DAY}T11:59:01Z"))
    assert (
        "version 2 is in force from 2026-01-05 12:00:00 UTC (the first window at or after" in said
    )
    change = "site S1, normal is learnt from (baseline_from): nothing → 2026-01-05T12:00:00Z"
    assert change in said
    history = done(fleet(plant, "config", "history", "plant"))
    assert f"by fleet config rebaseline S1 --from {DAY}T11:59:01Z" in history
    assert change in history
    (told,) = in_force(plant)["changes"]
    assert told["new"] == NOON
    diff = fleet(plant, "config", "diff", "plant")
    assert diff.exit_code == 1
    assert "baseline_from): 2026-01-05T12:00:00Z → nothing" in diff.output


def test_rebaselining_once_more_changes_nothing_and_an_earlier_instant_undoes_nothing(
    plant: Path,
) -> None:
    command = ("config", "rebaseline", "S1", "--fleet", "plant", "--from")
    done(fleet(plant, *command, NOON))
    assert "already" in done(fleet(plant, *command, NOON))
    done(fleet(plant, *command, DAY))
    with installation(plant).store() as store:
        found = store.registry.fleet(installation(plant).config("plant"))
    forgotten = {
        f"{v.valid_from}": [
            m.baseline_from for m in v.settings.region_mappings if m.site_id == "S1"
        ]
        for v in found.versions
    }
    shown = [str(one[0]) for one in forgotten.values()]
    assert shown == ["None", "2026-01-05 00:00:00+00:00", "2026-01-05 12:00:00+00:00"]


def test_a_rebaselined_site_stays_so_when_it_moves(plant: Path) -> None:
    write_fleet(
        plant,
        region_mappings=[
            {"site_id": "S1", "region_id": "north"},
            {"site_id": "S1", "region_id": "south", "valid_from": "2026-01-09T00:00:00Z"},
            {"site_id": "S2", "region_id": "south"},
        ],
    )
    done(fleet(plant, "config", "apply", "plant", "--from", DAY))
    said = done(fleet(plant, "config", "rebaseline", "S1", "--from", NOON))
    assert "site S1 from 2026-01-09T00:00:00+0000, normal is learnt from" in said
    done(fleet(plant, "regions", "move", "plant", "S1", "east", "--from", "2026-01-07"))
    with installation(plant).store() as store:
        found = store.registry.fleet(installation(plant).config("plant"))
    mappings = found.versions[-1].settings.region_mappings
    assert {str(m.baseline_from) for m in mappings if m.site_id == "S1"} == {
        "2026-01-05 12:00:00+00:00"
    }


def test_rebaselining_names_the_stored_days_it_alters(plant: Path) -> None:
    done(fleet(plant, "import", "plant", csv(plant), "--historical"))
    compute(plant, MIDNIGHT, MIDNIGHT + 24 * HOUR)
    found = printed(fleet(plant, "config", "rebaseline", "S1", "--from", NOON, "--json"))
    assert found["partitions"] == [DAY]
    assert found["recompute"] == f"fleet run plant --from {DAY} --to {DAY}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("S11", "--from", DAY), "fleet plant has no site 'S11'; did you mean S1?"),
        (("Q", "--from", DAY), "See them: fleet regions list plant"),
        (("S1", "--from", "soon"), "neither a day"),
        (("S1",), "Missing option '--from'"),
        (("S1", "--from", DAY, "--fleet", "nowhere"), "Fleet 'nowhere' is not defined"),
    ],
)
def test_what_cannot_be_rebaselined_is_refused_and_says_what_to_do(
    plant: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = fleet(plant, "config", "rebaseline", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert in_force(plant)["version_no"] == 1


def test_a_site_that_no_mapping_names_is_to_be_put_into_a_region_first(plant: Path) -> None:
    done(fleet(plant, "import", "plant", csv(plant, f"X1,{NOON},20,100"), "--historical"))
    refused = fleet(plant, "config", "rebaseline", "X1", "--from", DAY)
    assert refused.exit_code == 2
    advice = f"fleet regions move plant X1 REGION --from {DAY}"
    assert advice in " ".join(refused.output.split())
    done(fleet(plant, *advice.replace("REGION", "north").split()[1:]))
    done(fleet(plant, "config", "rebaseline", "X1", "--from", DAY))


def test_the_fleet_of_a_site_is_found_where_only_one_has_it(plant: Path) -> None:
    other = [{"site_id": "S1", "region_id": "west"}, {"site_id": "T1", "region_id": "west"}]
    write_fleet(plant, "harbour", region_mappings=other)
    done(fleet(plant, "config", "apply", "harbour"))
    said = done(fleet(plant, "config", "rebaseline", "T1", "--from", DAY))
    assert "Fleet harbour: version 2" in said
    refused = fleet(plant, "config", "rebaseline", "S1", "--from", DAY)
    assert refused.exit_code == 2
    assert "Name its fleet with --fleet" in " ".join(refused.output.split())
