from pathlib import Path

import dagster as dg
import pytest

from fleet_dagster.definitions import build_defs, create_fleet
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.streams import STREAMS
from fleet_dagster.model.tables import TABLES
from fleet_dagster_tests.dagster_layer.plants import DERIVED, content, install

DEPS = {
    "site_telemetry": set(),
    "site_assignment": set(),
    "site_kpi": {"site_telemetry", "site_assignment", "baseline"},
    "quarantine": {"site_telemetry"},
    "ingest_stats": {"site_telemetry"},
    "baseline": {"site_telemetry", "site_assignment"},
    "baseline_model": {"site_telemetry", "site_assignment"},
    "anomaly_score": {"site_kpi", "site_assignment", "baseline_model"},
    "fleet_correlation": {"anomaly_score", "site_assignment", "baseline_model"},
    "fleet_kpi": {"site_kpi", "site_assignment", "anomaly_score"},
    "region_kpi": {"site_kpi", "site_assignment", "anomaly_score"},
    "regional_health": {"region_kpi"},
    "site_ranking": {"site_kpi", "site_assignment", "baseline"},
    "ai_inference": {"site_kpi", "site_assignment", "anomaly_score"},
}


def config(name: str = "plant") -> FleetConfig:
    return FleetConfig.model_validate(content(name))


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def tables(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """Return the assets that are tables, by key."""
    return {key: spec for key, spec in specs(defs).items() if key.split("/")[-1] in TABLES}


@pytest.mark.parametrize("n_fleets", [0, 1, 4])
def test_every_fleet_file_of_the_folder_is_in_the_code_location(
    tmp_path: Path, n_fleets: int
) -> None:
    names = [f"plant_{i}" for i in range(n_fleets)]
    defs = build_defs(install(tmp_path, *(content(name) for name in names)))
    dg.Definitions.validate_loadable(defs)
    assert {key.split("/")[0] for key in specs(defs)} == set(names)
    jobs = {job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    own = {
        f"{n}_{kind}"
        for n in names
        for kind in ("windows", "ai_inference", "trial", "retention", "ledger")
    }
    assert jobs == {"lake_maintenance", "purge_event_log", *own}


def test_a_fleet_has_an_asset_for_each_table_with_its_own_columns() -> None:
    found = tables(create_fleet(config()))
    assert set(found) == {f"plant/{name}" for name in TABLES}
    for name, table in TABLES.items():
        shown = found[f"plant/{name}"].metadata["dagster/column_schema"]
        assert isinstance(shown, dg.TableSchema)
        assert [(c.name, c.type, c.constraints.nullable) for c in shown.columns] == [
            (c.name, c.type, c.nullable) for c in table.columns
        ]


def test_a_numbered_column_names_the_kpi_that_it_holds() -> None:
    raw = content()
    kpi = raw["kpis"][1]
    shown = specs(create_fleet(FleetConfig.model_validate(raw)))["plant/site_kpi"]
    columns = {c.name: c for c in shown.metadata["dagster/column_schema"].columns}
    assert f": {kpi['name']} (" in (columns["kpi_01"].description or "")


def test_the_asset_graph_is_the_pipeline() -> None:
    found = tables(create_fleet(config()))
    assert {k: {d.asset_key.to_user_string() for d in s.deps} for k, s in found.items()} == {
        f"plant/{name}": {f"plant/{dep}" for dep in deps} for name, deps in DEPS.items()
    }


def test_every_asset_says_what_it_is_and_whose() -> None:
    for spec in specs(create_fleet(config())).values():
        assert spec.description
        assert spec.owners == ["team:fleet-operations"]
    for spec in tables(create_fleet(config())).values():
        assert spec.group_name == "plant"
        assert "deltalake" in spec.kinds
        assert TABLES[spec.key.path[-1]].description in (spec.description or "")
        assert spec.partitions_def is not None


def test_only_telemetry_cannot_be_materialized() -> None:
    graph = create_fleet(config()).resolve_asset_graph()
    made = {key.path[-1] for key in graph.materializable_asset_keys}
    assert made == {*DERIVED, "ai_inference", "retention", "ledger", "dashboard_snapshot"}
    known = {key.path[-1] for key in graph.external_asset_keys}
    assert known == {"site_telemetry", *STREAMS}


def test_streams_are_shown_with_columns_retention_and_consumers() -> None:
    fleet = config()
    found = specs(create_fleet(fleet))
    for name, stream in STREAMS.items():
        spec = found[f"plant/streams/{name}"]
        assert [d.asset_key.path for d in spec.deps] == [["plant", stream.table.name]]
        assert spec.metadata["stream"] == f"esn/fleet/plant/{name}"
        assert spec.metadata["kept_days"] == stream.table.retention_days
        assert spec.metadata["consumers"] == ", ".join(stream.consumers)
        shown = spec.metadata["dagster/column_schema"]
        assert isinstance(shown, dg.TableSchema)
        assert [c.name for c in shown.columns] == list(stream.table.column_names)
        assert spec.group_name == "plant_streams"


def test_bringing_windows_up_to_date_removes_nothing() -> None:
    job = create_fleet(config()).resolve_job_def("plant_windows")
    chosen = {key.path[-1] for key in job.asset_layer.selected_asset_keys}
    assert chosen == {*DERIVED, "dashboard_snapshot"}


def test_every_derived_table_has_a_blocking_check() -> None:
    graph = create_fleet(config()).resolve_asset_graph()
    found = {(k.asset_key.path[-1], k.name): graph.get(k).blocking for k in graph.asset_check_keys}
    blocking = {table for (table, _), blocks in found.items() if blocks}
    assert blocking == {*DERIVED, "ai_inference"}
    assert found["quarantine", "nothing_in_quarantine"] is False


def test_two_fleets_merge_into_one_code_location() -> None:
    merged = dg.Definitions.merge(create_fleet(config("north")), create_fleet(config("south")))
    dg.Definitions.validate_loadable(merged)
    groups = {spec.group_name for spec in merged.resolve_all_asset_specs()}
    assert groups == {"north", "south", "north_streams", "south_streams"}


def test_a_fleet_merges_with_assets_of_ones_own() -> None:
    @dg.asset(deps=[dg.AssetKey(["plant", "fleet_kpi"])])
    def report() -> None:
        """Depend on a fleet's table."""

    merged = dg.Definitions.merge(create_fleet(config()), dg.Definitions(assets=[report]))
    dg.Definitions.validate_loadable(merged)


def test_user_code_may_give_dicts() -> None:
    fleet = FleetConfig(
        name="dicts",
        kpis=[
            {"name": "power", "unit": "kW", "lo": 0, "hi": 5, "direction": "higher", "domain": "x"}
        ],  # type: ignore[arg-type]
        region_mappings=[{"site_id": "a", "region_id": "north"}],  # type: ignore[arg-type]
    )
    dg.Definitions.validate_loadable(create_fleet(fleet))


def test_dagster_watches_whether_the_tables_people_look_at_are_fresh() -> None:
    found = specs(create_fleet(config()))
    watched = {key for key, spec in found.items() if spec.freshness_policy is not None}
    assert watched == {"plant/fleet_kpi", "plant/regional_health", "plant/site_ranking"}


def test_the_same_table_of_two_fleets_is_not_taken_for_one() -> None:
    merged = dg.Definitions.merge(create_fleet(config("north")), create_fleet(config("south")))
    names = [spec.metadata["dagster/table_name"] for spec in tables(merged).values()]
    assert len(set(names)) == len(names)


def test_a_mapping_makes_the_same_fleet_as_a_configuration() -> None:
    found, typed = tables(create_fleet(content())), tables(create_fleet(config()))
    assert found.keys() == typed.keys()
    assert len(found) == len(DEPS)


def test_a_mapping_that_breaks_limits_is_refused_with_every_problem() -> None:
    broken = content(interval_s=7, stalenes_threshold_s=3)
    with pytest.raises(ConfigError, match="config is not a valid fleet configuration") as caught:
        create_fleet(broken)
    assert len(caught.value.problems) == 2
