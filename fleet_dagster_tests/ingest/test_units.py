import pytest

from fleet_dagster.ingest.units import UnitError, conversion


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        ("degC", "degC", 20.0, 20.0),
        ("degF", "degC", 32.0, 0.0),
        ("degF", "degC", 212.0, 100.0),
        ("K", "degC", 273.15, 0.0),
        ("MW", "kW", 1.5, 1500.0),
        ("percent", "1", 50.0, 0.5),
        ("1", "%", 0.5, 50.0),
        ("mbar", "bar", 1000.0, 1.0),
        ("psi", "bar", 14.503773773, 1.0),
        ("rpm", "Hz", 60.0, 6.283185307),
        ("m3/h", "l/s", 3.6, 1.0),
        ("W/m2", "kW/m²", 1000.0, 1.0),
        ("km/h", "m/s", 36.0, 10.0),
        ("l/100km", "l/km", 30.0, 0.3),
        ("kvar", "Mvar", 1000.0, 1.0),
    ],
)
def test_a_value_keeps_its_meaning(source: str, target: str, before: float, after: float) -> None:
    factor, offset = conversion(source, target)
    assert before * factor + offset == pytest.approx(after, abs=1e-6)


def test_equal_strings_need_no_known_unit() -> None:
    assert conversion("widgets per fortnight", "widgets per fortnight") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("source", "target"),
    [("degC", "kW"), ("blorps", "kW"), ("kW", "((("), ("", "kW"), ("1 +", "kW")],
)
def test_units_that_do_not_fit_are_refused(source: str, target: str) -> None:
    with pytest.raises(UnitError):
        conversion(source, target)
