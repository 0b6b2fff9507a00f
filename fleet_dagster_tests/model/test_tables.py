import pytest

from fleet_dagster.model.tables import TABLES, Column, Table, derived_tables, superseded


def test_every_table_is_filed_by_fleet_and_day() -> None:
    for table in TABLES.values():
        assert table.column_names[:2] == ("fleet", "day"), table.name
        assert table.key[0] == "fleet"


def test_keys_are_never_null() -> None:
    for table in TABLES.values():
        assert not any(table.by_name[name].nullable for name in table.key), table.name


def test_every_column_says_what_it_means() -> None:
    for table in TABLES.values():
        assert table.description
        for column in table.columns:
            assert column.meaning, (table.name, column.name)
            assert len(set(table.column_names)) == len(table.columns)


def test_streams_are_retained_as_published() -> None:
    kept = {t.stream: t.retention_days for t in TABLES.values() if t.stream}
    published = {
        "fleet_kpi_stream": 730,
        "regional_health_stream": 365,
        "site_ranking_stream": 90,
    }
    assert published.items() <= kept.items()


def test_a_superseded_table_adds_who_replaced_the_row_and_when() -> None:
    for table in derived_tables():
        old = superseded(table)
        assert old.name == f"{table.name}_superseded"
        assert old.column_names == (*table.column_names, "intent_id", "superseded_at")


def test_a_key_that_is_no_column_is_refused() -> None:
    with pytest.raises(ValueError, match=r"key columns \['b'\]"):
        Table("t", "row", ("b",), (Column("a", "string", "A"),))
