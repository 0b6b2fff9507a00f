from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.yaml_file import load_config, parse_config

GOOD = """\
name: plant
profile: small
kpis:
  - name: power
    unit: kW
    lo: 0
    hi: 500
region_mappings:
  - {site_id: a, region_id: north}
  - {site_id: b, region_id: north, depends_on: [a]}
"""


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="plant.yaml")
    return caught.value.problems


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_text(GOOD, encoding="utf-8")
    config = load_config(path)
    assert config.name == "plant"
    assert [m.site_id for m in config.region_mappings] == ["a", "b"]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("    hi: 500", "    hi: much", 7, "kpis[0].hi: found 'much', expected a number"),
        ("    unit: kW", "    unti: kW", 5, "Did you mean 'unit'?"),
        ("profile: small", "profile: smal", 2, "profile 'smal' is unknown"),
        ("    lo: 0", "    lo: 900", 4, "lo 900 must be below hi 500"),
        ("north, depends_on", "unmapped, depends_on", 10, "'unmapped' is reserved"),
        ("depends_on: [a]", "depends_on: [z]", 10, "depends_on 'z'"),
        (
            "site_id: b, region_id: north, depends_on: [a]",
            "site_id: a, region_id: south",
            10,
            "repeat site 'a'",
        ),
        ("profile: small", "interval_s: 11", 2, "found 11"),
        ("profile: small", "source: {kpis: {heat: {column: h}}}", 2, "source.kpis names 'heat'"),
        ("profile: small", "timezone: Bonn", 2, "found 'Bonn'"),
        ("profile: small", "name: other", 1, "key 'name' appears more than once"),
    ],
)
def test_a_problem_names_its_line(old: str, new: str, line: int, words: str) -> None:
    (found,) = problems(GOOD.replace(old, new))
    assert found.startswith(f"line {line}: ")
    assert words in found


def test_a_rule_over_the_whole_list_names_the_lists_line() -> None:
    sites = "".join(f"  - {{site_id: s{i}, region_id: r}}\n" for i in range(49))
    (found,) = problems(GOOD + sites)
    assert found.startswith("line 8: region_mappings name 51 sites")


def test_all_problems_are_listed_with_the_file_in_front() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(GOOD.replace("hi: 500", "hi: x").replace("small", "s"), source="plant.yaml")
    assert str(caught.value).startswith("plant.yaml is not a valid fleet configuration:\n  - line")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)none\.yaml is not .*Check the path"):
        load_config(tmp_path / "none.yaml")


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "plant.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(path)


@pytest.mark.parametrize(
    "text", ["", "- a\n", "3", "a: b: c", "name: 'open", "d: 2026-13-45", "\t"]
)
def test_text_that_is_no_mapping_is_refused(text: str) -> None:
    assert len(problems(text)) == 1


def test_an_alias_of_itself_is_refused() -> None:
    assert "aliases" in problems("a: &x [*x]\n")[0]


def test_aliases_that_unfold_without_end_are_refused() -> None:
    layers = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "aliases" in problems("\n".join(["l0: &l0 [x]", *layers]))[0]


def test_an_alias_for_brevity_is_fine() -> None:
    text = GOOD.replace("  - name: power", "  - &power\n    name: power")
    assert parse_config(text, source="plant.yaml").kpi_names == ("power",)


@given(st.text(max_size=60), st.integers(0, len(GOOD)), st.integers(0, 30))
def test_any_text_is_read_or_refused_with_a_reason(inserted: str, at: int, cut: int) -> None:
    text = GOOD[:at] + inserted + GOOD[at + cut :]
    try:
        found: tuple[str, ...] = (parse_config(text, source="plant.yaml").name,)
    except ConfigError as error:
        found = error.problems
    assert found
    assert all(found)
