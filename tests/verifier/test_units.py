"""What amounts are measured in: prefixes by rule, units in base units, unknown ones by their text."""

import pytest

from gmpo.verifier.notation import compare_notation, parse_answer
from gmpo.verifier.units import measured


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("km", "kilometers"),
        ("kN", "kilonewtons"),
        ("N", "kg m/s^2"),
        ("J", "N m"),
        ("W", "J/s"),
        ("m/s", "m s^{-1}"),
        ("meters per second", "m/s"),
        ("cm^2", "square centimeters"),
        ("Hz", "/s"),
        ("\\mum", "micrometers"),
        ("furlong/day", "furlongs per day"),
    ],
)
def test_the_same_unit(one: str, other: str) -> None:
    assert measured(one) == measured(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("m/s", "m s"), ("mW", "MW"), ("N/m", "N m"), ("eV", "MeV"), ("mol", "mmol"), ("quux", "quuz"), ("kg", "g")],
)
def test_other_units(one: str, other: str) -> None:
    assert measured(one) != measured(other)


def test_degrees_of_a_temperature() -> None:
    celsius, fahrenheit, kelvin = map(parse_answer, ("25^\\circ\\text{C}", "25°F", "25\\text{ K}"))
    assert compare_notation(celsius, fahrenheit) is False
    assert compare_notation(celsius, kelvin) is False
    assert compare_notation(celsius, parse_answer("25^\\circ")) is True
    assert compare_notation(celsius, parse_answer("25\\text{ degrees Celsius}")) is True


@pytest.mark.parametrize("answer", ["5\\text{x}", "5\\text{e}", "5\\text{ mu}", "5\\text{!}", "5\\text{ ppm}"])
def test_a_letter_that_is_no_unit_stays(answer: str) -> None:
    assert parse_answer(answer).number is None
