import pytest

from fleet_dagster.model.features import Feature, parse_feature, reach_of, unknown_sources


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("power_kw", Feature("power_kw", "power_kw")),
        ("power_kw@3", Feature("power_kw@3", "power_kw", lag=3)),
        (
            "mean(power_kw, 10)",
            Feature("mean(power_kw, 10)", "power_kw", summary="mean", length=10),
        ),
        ("region(site.health)", Feature("region(site.health)", "site.health", scope="region")),
        (
            "slope(upstream(power_kw), 5)",
            Feature(
                "slope(upstream(power_kw), 5)",
                "power_kw",
                scope="upstream",
                summary="slope",
                length=5,
            ),
        ),
        ("mean", Feature("mean", "mean")),
    ],
)
def test_a_feature_is_read(text: str, wanted: Feature) -> None:
    assert parse_feature(text) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is none"),
        ("a b", "is none"),
        ("median(power_kw, 3)", "is none"),
        ("mean(power_kw)", "is none"),
        ("power_kw@-1", "is none"),
        ("mean(power_kw, 0)", "reads 0 windows"),
        ("mean(power_kw, 122)", "reads 122 windows"),
        ("std(power_kw, 1)", "allowed are 2 to"),
        ("power_kw@121", "reads 121 windows"),
    ],
)
def test_what_is_no_feature_is_refused_with_what_to_do(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_feature(text)


def test_a_set_of_features_reaches_as_far_back_as_its_oldest_window() -> None:
    assert reach_of([]) == 0
    assert reach_of(["a", "a@3", "mean(b, 10)"]) == 9


def test_sources_that_the_fleet_does_not_have_are_named() -> None:
    assert unknown_sources(["a", "region(b)", "site.health", "time.hour_sin"], ["a"]) == ["b"]
