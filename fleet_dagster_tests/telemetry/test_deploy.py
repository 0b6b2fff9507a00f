import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fleet_dagster.cli.main import COMMANDS, Commands, main
from fleet_dagster.telemetry.metrics import METRICS

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "fleet-dagster.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
METRIC_OF = {name: metric for metric in METRICS.values() for name in metric.series}
TARGETS = [
    (panel["title"], target["expr"], target["legendFormat"])
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]


def metrics_in(expression: str) -> list[str]:
    """Return the names of series in an expression."""
    return re.findall(r"\bfleet_\w+", re.sub(r'"[^"]*"', '""', expression))


def labels_in(expression: str) -> set[str]:
    """Return the labels that an expression selects, groups and matches by."""
    matched = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    grouped = re.findall(r"\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)", expression)
    named = [name.strip() for names in grouped for name in names.split(",")]
    return {*matched, *named} - {"", "le"}


def known_labels(expression: str) -> set[str]:
    return {label for name in metrics_in(expression) for label in METRIC_OF[name].labels}


@pytest.mark.parametrize(("title", "expression", "legend"), TARGETS)
def test_a_panel_asks_for_metrics_and_labels_that_exist(
    title: str, expression: str, legend: str
) -> None:
    assert metrics_in(expression), title
    assert set(metrics_in(expression)) <= set(METRIC_OF)
    assert labels_in(expression) <= known_labels(expression)
    assert set(re.findall(r"{{(\w+)}}", legend)) <= known_labels(expression)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_asks_for_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    expression, words = rule["expr"], " ".join(rule["annotations"].values())
    assert metrics_in(expression)
    assert set(metrics_in(expression)) <= set(METRIC_OF)
    assert labels_in(expression) <= known_labels(expression)
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= known_labels(expression)
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in ("warning", "critical")


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_advises_commands_that_there_are(rule: dict[str, Any]) -> None:
    for words in re.findall(r"`fleet ([^`]+)`", rule["annotations"]["description"]):
        name, *rest = words.split()
        assert name in COMMANDS
        command = Commands().get_command(click.Context(main), name)
        if isinstance(command, click.Group) and rest:
            assert rest[0] in command.commands


def test_rules_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_the_dashboard_asks_no_data_source_but_the_one_that_is_chosen() -> None:
    assert set(_sources(DASHBOARD["panels"])) == {"${datasource}"}
    assert [v["name"] for v in DASHBOARD["templating"]["list"]] == ["datasource", "fleet"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_two_panels_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & taken
        assert max(x for x, _ in own) < 24
        taken |= own


def _sources(node: Any) -> Iterator[str]:  # Any: what JSON holds
    if isinstance(node, dict):
        if isinstance(node.get("datasource"), dict):
            yield node["datasource"]["uid"]
        for value in node.values():
            yield from _sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from _sources(value)
