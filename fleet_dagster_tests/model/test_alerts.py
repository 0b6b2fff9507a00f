"""The settings of alerts: defaults, errors, and that rows do not depend on them."""

from typing import Any

import pytest

from fleet_dagster.model.alerts import DEFAULT_RULES, RULES, AlertRules, AlertSettings, rule_of
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.yaml_file import validate_config
from fleet_dagster_tests.cli.cases import content


def problems(**alerts: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate_config(content(alerts=alerts), source="plant.yaml")
    return list(caught.value.problems)


def test_every_rule_has_defaults_and_a_severity_of_its_own_but_incidents() -> None:
    assert set(DEFAULT_RULES) == set(RULES) == set(AlertRules.model_fields)
    settings = AlertSettings()
    assert [r for r in RULES if rule_of(settings, r).severity is None] == ["incident"]
    assert settings.destinations == ()


def test_what_is_left_out_of_a_rule_keeps_the_rules_own_default() -> None:
    given = AlertSettings.model_validate({"rules": {"region": {"open_after_minutes": 3}}})
    region = given.rules.region
    assert (region.open_after_minutes, region.resolve_after_minutes) == (3, 15)
    assert region.severity == "critical"
    assert given.rules.outlier == AlertSettings().rules.outlier


def test_rows_do_not_depend_on_alerts() -> None:
    plain = validate_config(content(), source="x")
    alerts = {"destinations": [{"name": "ops", "url": "json://x"}], "stale_after_minutes": 99}
    told = validate_config(content(alerts=alerts), source="x")
    assert told.structure_digest == plain.structure_digest
    assert told.hot.digest == plain.hot.digest


@pytest.mark.parametrize(
    ("alerts", "words"),
    [
        (
            {"rules": {"regoin": {}}},
            "alerts.rules.regoin: is not a known field. Did you mean 'region'?",
        ),
        (
            {"rules": {"storm": {"open_after_minutes": -1}}},
            "alerts.rules.storm.open_after_minutes: found -1, expected at least 0. Raise it",
        ),
        (
            {"destinations": [{"name": "a b", "url": "json://x"}]},
            "alerts.destinations[0].name: found 'a b', expected text that matches",
        ),
        (
            {"destinations": [{"name": "ops", "url": "s3cret"}]},
            "alerts.destinations: the url of 'ops' is neither an address (SCHEME://…) nor env:NAME",
        ),
        (
            {"destinations": [{"name": "a", "url": "json://x"}, {"name": "a", "url": "json://y"}]},
            "alerts.destinations repeat name 'a'. Rename one of them",
        ),
        (
            {"destinations": [{"name": "a", "url": "json://x", "rules": ["regions"]}]},
            "alerts.destinations[0].rules[0]: found 'regions', expected one of 'incident'",
        ),
        (
            {"destinations": "slack://s3cret/s3cret"},
            "alerts.destinations: found 'slack://…', expected a list",
        ),
        (
            {"destinations": [{"name": "a", "url": ["slack://s3cret"]}]},
            "alerts.destinations[0].url: found ['slack://…'], expected text",
        ),
    ],
)
def test_what_is_wrong_is_said_without_secrets(alerts: dict[str, Any], words: str) -> None:
    (problem,) = problems(**alerts)
    assert words in problem
    assert "s3cret" not in problem
