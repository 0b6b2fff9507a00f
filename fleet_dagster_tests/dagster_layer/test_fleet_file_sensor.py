import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span, floor_to
from fleet_dagster.definitions import create_fleet
from fleet_dagster.model.config import FleetConfig, HotSettings
from fleet_dagster.model.edits import set_values
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.tables import FLEET_KPI, REGIONAL_HEALTH, derived_tables
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.refresh.touched import touched
from fleet_dagster.sensors.fleet_file import altered_windows
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.maintenance import expire_telemetry
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.dagster_layer.plants import (
    content,
    day_start,
    install,
    instance_in_memory,
    land,
    run,
)

WINDOW = 15 * MINUTE
COARSE: dict[str, Any] = {"interval_s": 900, "staleness_threshold_s": 1200}
MIDDAY = day_start(1) + 12 * HOUR
COMPUTED = Span(day_start(0), day_start(3))
SITE = content()["region_mappings"][0]["site_id"]


class Watch:
    """An installation whose file sensor ticks as under the daemon: each tick gets the last one's cursor."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.installation = install(folder, content(**COARSE))
        self.instance = instance
        self.path = self.installation.fleets_folder / "plant.yaml"
        self.cursor: str | None = None
        self.loaded = self.installation.config("plant")

    def tick(self) -> Any:  # Any: Dagster gives what a tick returns no public name
        """Evaluate the sensor of the code location as it was loaded."""
        defs = create_fleet(self.loaded, self.installation)
        sensor = defs.resolve_sensor_def("plant_file_sensor")
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=defs.get_repository_def(),
            resources=defs.resources,
        ) as context:
            found = sensor.evaluate_tick(context)
        self.cursor = found.cursor
        return found

    def keys(self) -> list[str | None]:
        """Return the partitions that a tick asks for."""
        return [request.partition_key for request in self.tick().run_requests]

    def reload(self) -> None:
        """Load the code location again, with the file as it is."""
        self.loaded = self.installation.config("plant")

    def write(self, **changes: Any) -> None:
        """Edit the file."""
        text = yaml.safe_dump({**self.content(), **changes}, sort_keys=False)
        self.path.write_text(text, encoding="utf-8")

    def content(self) -> dict[str, Any]:
        """Return what the file says."""
        return dict(yaml.safe_load(self.path.read_text(encoding="utf-8")))

    def move(self, region: str, instant: int) -> None:
        """Let the file say that the first site lies in a region from an instant on."""
        moved = {"site_id": SITE, "region_id": region, "valid_from": stamp(instant)}
        self.write(region_mappings=[*self.content()["region_mappings"], moved])

    def edit(self, sigma: str, start: int) -> None:
        """Set a threshold from an instant on, as the command line does."""
        with self.installation.store() as store:
            store.registry.edit(
                self.loaded,
                lambda settings, _at: set_values(settings, {"outlier_sigma": sigma}, ()),
                source="test",
                valid_from=start,
            )

    def settings_at(self, instant: int) -> HotSettings:
        """Return the settings in force."""
        with self.installation.store() as store:
            return store.registry.fleet(self.loaded).settings_at(instant)

    def n_versions(self) -> int:
        """Return how many versions of the settings are recorded."""
        with self.installation.store() as store:
            return len(store.registry.versions("plant"))

    def compute(self, *, recompute: bool = False) -> int:
        """Compute three days without Dagster; returns how many rows that wrote."""
        with self.installation.store() as store:
            refresh = Refresh(store, self.loaded, recompute=recompute)
            return sum(outcome.rows_written for outcome in refresh.everything(COMPUTED))

    def restated(self, table: str, *, after: int) -> list[Span]:
        """Return the spans that a table restated after a commit."""
        with self.installation.store() as store:
            entries = store.history.entries(table, "plant", after=after, kind="restate")
            return [entry.span for entry in entries]

    def last_commit(self) -> int:
        """Return the number of the last commit."""
        with self.installation.store() as store:
            return store.history.last_number()


def stamp(instant: int) -> str:
    return dt.datetime.fromtimestamp(instant / 1e6, tz=dt.UTC).isoformat()


@pytest.fixture
def watch(tmp_path: Path, instance: dg.DagsterInstance) -> Watch:
    """Return a watched fleet whose sensor has ticked once."""
    watched = Watch(tmp_path, instance)
    watched.tick()
    return watched


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of an installation with three days computed, to be copied."""
    folder = tmp_path_factory.mktemp("prepared")
    with instance_in_memory(folder / "dagster") as instance:
        watched = Watch(folder, instance)
        watched.tick()
        land(watched.installation, day_start(0), day_start(3))
        watched.compute()
    return watched.installation.home


@pytest.fixture
def computed(tmp_path: Path, instance: dg.DagsterInstance, prepared: Path) -> Watch:
    """Return a watched fleet with three computed days, whose sensor has ticked once."""
    watched = Watch(tmp_path, instance)
    shutil.copytree(prepared, watched.installation.home, dirs_exist_ok=True)
    watched.tick()
    return watched


def test_the_sensor_runs_without_being_switched_on() -> None:
    (sensor,) = [
        s
        for s in create_fleet(FleetConfig.model_validate(content())).sensors or []
        if s.name == "plant_file_sensor"
    ]
    assert isinstance(sensor, dg.SensorDefinition)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 15


def test_an_unchanged_file_is_left_alone_and_the_tick_says_so(watch: Watch) -> None:
    assert "plant.yaml is unchanged" in watch.tick().skip_message
    assert watch.n_versions() == 1


def test_the_first_tick_puts_the_file_in_force(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    fresh = Watch(tmp_path, instance)
    assert "put in force" in fresh.tick().skip_message
    assert fresh.n_versions() == 1


def test_an_edited_threshold_holds_from_the_next_window_on_and_leaves_the_past(
    computed: Watch,
) -> None:
    computed.write(outlier_sigma=2.0)
    before = now_us()
    assert "put in force" in computed.tick().skip_message
    assert computed.settings_at(before - before % WINDOW).outlier_sigma == 3.0
    assert computed.settings_at(now_us() + WINDOW).outlier_sigma == 2.0
    assert computed.compute(recompute=True) == 0
    assert "unchanged" in computed.tick().skip_message


def test_a_mapping_dated_in_the_middle_of_a_day_restates_just_the_windows_it_alters(
    computed: Watch,
) -> None:
    """The site lies elsewhere for two hours; recomputing what was touched equals recomputing everything."""
    back = MIDDAY + 2 * HOUR
    computed.move("region-02", MIDDAY)
    computed.move("region-01", back)
    before = computed.last_commit()
    keys = computed.keys()
    assert keys == ["2026-01-02", "2026-01-03"]
    for key in keys:
        assert run(computed.installation, computed.instance, str(key)).success
    assert computed.keys() == []
    for table in (FLEET_KPI, REGIONAL_HEALTH):
        spans = computed.restated(table.name, after=before)
        assert all(s.start >= MIDDAY and s.end <= back for s in spans)
    assert computed.restated(REGIONAL_HEALTH.name, after=before) == [Span(MIDDAY, back)]
    for table in derived_tables():
        assert all(s.end > MIDDAY for s in computed.restated(table.name, after=before))
    assert computed.compute(recompute=True) == 0


def test_a_settings_change_of_the_command_line_is_followed_as_well(computed: Watch) -> None:
    computed.edit("1.5", day_start(2) + HOUR)
    before = computed.last_commit()
    found = computed.tick()
    assert [r.partition_key for r in found.run_requests] == ["2026-01-03"]
    assert found.run_requests[0].run_key == "plant:settings:2:2026-01-03:1"
    assert found.run_requests[0].tags["fleet/settings_version"] == "2"
    assert run(computed.installation, computed.instance, "2026-01-03").success
    assert computed.restated("site_ranking", after=before)
    assert computed.compute(recompute=True) == 0


def test_an_invalid_file_is_refused_whole_with_its_line_until_it_is_edited(watch: Watch) -> None:
    watch.write(outlier_sigma=2.0, min_good_pct=180)
    text = watch.path.read_text(encoding="utf-8").splitlines()
    line = next(i for i, row in enumerate(text, start=1) if "min_good_pct" in row)
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"plant\.yaml.*\n.*line {line}: min_good_pct.*180"):
            watch.tick()
    assert watch.n_versions() == 1
    watch.write(min_good_pct=70)
    assert "put in force" in watch.tick().skip_message
    assert watch.settings_at(now_us() + WINDOW).min_good_pct == 70


def test_a_file_that_is_no_yaml_is_refused(watch: Watch) -> None:
    watch.path.write_text("name: plant\nkpis: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not YAML.*line 3"):
        watch.tick()


def test_changed_structure_asks_for_a_reload_while_the_hot_part_takes_effect(watch: Watch) -> None:
    watch.write(grace_s=30, schedule_minutes=7, outlier_sigma=2.0)
    words = watch.tick().skip_message
    assert "changes grace_s, schedule_minutes, which is structure. Reload the code" in words
    assert watch.settings_at(now_us() + WINDOW).outlier_sigma == 2.0
    assert "Reload the code location" in watch.tick().skip_message
    watch.reload()
    assert "already applied" in watch.tick().skip_message
    assert watch.tick().skip_message.endswith("is unchanged")


def test_settings_that_need_another_structure_wait_for_the_reload(watch: Watch) -> None:
    sites = [{"site_id": f"T-{i:02d}", "region_id": "region-01"} for i in range(46)]
    watch.write(
        profile="medium",
        region_mappings=[*watch.content()["region_mappings"], *sites],
    )
    for _ in range(2):
        words = watch.tick().skip_message
        assert "changes profile, and its settings need that: nothing was applied" in words
        assert "name 52 sites" in words
    assert watch.n_versions() == 1
    watch.reload()
    assert "put in force" in watch.tick().skip_message
    assert watch.n_versions() == 2


def test_a_fleet_without_a_file_is_defined_in_python(watch: Watch) -> None:
    watch.path.unlink()
    watch.cursor = None
    assert "it is defined in Python" in watch.tick().skip_message


def test_a_file_that_is_gone_is_said_to_be_gone_until_it_is_back(watch: Watch) -> None:
    text = watch.path.read_text(encoding="utf-8")
    watch.path.unlink()
    for _ in range(2):
        assert "file of fleet plant is gone" in watch.tick().skip_message
    watch.path.write_text(text, encoding="utf-8")
    assert "plant.yaml is unchanged" in watch.tick().skip_message


def test_an_invalid_file_does_not_hold_up_windows_that_the_command_line_altered(
    computed: Watch,
) -> None:
    computed.write(min_good_pct=180)
    computed.edit("1.5", day_start(2) + HOUR)
    assert computed.keys() == ["2026-01-03"]
    computed.compute()
    with pytest.raises(ConfigError, match="min_good_pct"):
        computed.tick()


def test_what_was_requested_is_asked_for_again_until_it_is_current_but_not_for_ever(
    computed: Watch,
) -> None:
    computed.edit("1.5", day_start(2) + HOUR)
    keys = {computed.tick().run_requests[0].run_key for _ in range(3)}
    assert len(keys) == 3
    assert "Requested 3 times and still not current" in computed.tick().skip_message
    computed.edit("1.25", day_start(2) + HOUR)
    assert computed.keys() == ["2026-01-03"]
    computed.compute()
    assert computed.keys() == []


def test_what_was_requested_waits_while_a_run_is_at_its_partition(computed: Watch) -> None:
    job = create_fleet(computed.loaded, computed.installation).resolve_job_def("plant_windows")
    running = computed.instance.create_run_for_job(
        job,
        tags={"dagster/partition": "2026-01-03"},
        status=dg.DagsterRunStatus.STARTED,
    )
    computed.edit("1.5", day_start(2) + HOUR)
    assert "Waiting for runs" in computed.tick().skip_message
    computed.instance.report_run_canceled(running)
    assert computed.keys() == ["2026-01-03"]


def test_a_change_alters_no_window_before_the_first_that_it_governs(computed: Watch) -> None:
    """A window of the same day that late telemetry has touched is none of its business."""
    with computed.installation.store() as store:
        raw = at.snapshots(SITE, [day_start(2) + HOUR], computed.loaded)
        at.land(store, computed.loaded, raw, batch_id="late")
    computed.edit("1.5", day_start(3) - 2 * WINDOW)
    with computed.installation.store() as store:
        versions = store.registry.versions("plant")[1:]
        (found,) = altered_windows(store, computed.loaded, versions)
    assert found == Span(day_start(3) - 2 * WINDOW, day_start(3))


def test_a_file_may_have_another_name_than_its_fleet(watch: Watch) -> None:
    moved = watch.path.with_name("north.yaml")
    watch.path.rename(moved)
    install(watch.installation.fleets_folder.parent, content("other", **COARSE))
    assert watch.installation.file_of("plant") == moved
    assert "north.yaml is unchanged" in watch.tick().skip_message


def test_a_change_that_begins_in_the_future_alters_no_stored_window(watch: Watch) -> None:
    """Not those of today either, though a site that joins is told by its day."""
    closed = floor_to(now_us(), WINDOW)
    today = Span(floor_to(closed - WINDOW, DAY), closed)
    land(watch.installation, today.start, today.end)
    mappings = [*content()["region_mappings"], {"site_id": "new", "region_id": "region-01"}]
    larger = FleetConfig.model_validate(content(region_mappings=mappings, **COARSE))
    with watch.installation.store() as store:
        Refresh(store, watch.loaded).everything(today)
        store.registry.apply(larger, valid_from=now_us() + 2 * WINDOW)
        assert altered_windows(store, larger, store.registry.versions("plant")[1:]) == []


def test_windows_that_were_never_computed_or_have_expired_are_not_touched(computed: Watch) -> None:
    with computed.installation.store() as store:
        assert touched(store, computed.loaded, Span(0, day_start(300))) == []
        stricter = FleetConfig.model_validate(content(outlier_sigma=1.0, **COARSE))
        store.registry.apply(stricter, valid_from=day_start(1))
        found = touched(store, computed.loaded, Span(0, day_start(300)))
        assert found == [Span(day_start(1), day_start(3))]
        expire_telemetry(store, "plant", now=day_start(42), retention_days=40)
        found = touched(store, computed.loaded, Span(0, day_start(300)))
        assert found == [Span(day_start(2), day_start(3))]


def test_a_site_added_today_touches_the_computed_part_of_the_day(computed: Watch) -> None:
    with computed.installation.store() as store:
        mappings = [*content()["region_mappings"], {"site_id": "new", "region_id": "region-01"}]
        larger = FleetConfig.model_validate(content(region_mappings=mappings, **COARSE))
        store.registry.apply(larger, valid_from=day_start(2) + 12 * HOUR)
    assert computed.keys() == ["2026-01-03"]


def test_an_old_or_foreign_cursor_is_taken_for_none(watch: Watch) -> None:
    watch.cursor = "something else"
    assert "already applied" in watch.tick().skip_message
