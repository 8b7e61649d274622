"""Rational numbers in every way that people write them, against fractions built from their digits."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmpo.verifier.notation import parse_answer
from gmpo.verifier.numbers import Number, decimal_places, read_number, read_numeral, same_number, within_rounding

MILLIONTH = Fraction(1, 10**6)
naturals = st.integers(0, 10**18)
positives = st.integers(1, 10**9)
signs = st.sampled_from(["", "-"])
numbers = st.builds(Number, st.fractions(max_denominator=10**6), st.none() | st.integers(-3, 12))


def value(text: str) -> Fraction | None:
    """As an answer with the text is read."""
    number = parse_answer(text).number
    return None if number is None else number.value


def signed(sign: str, magnitude: Fraction) -> Fraction:
    return -magnitude if sign else magnitude


@given(naturals, signs)
def test_integers(n: int, sign: str) -> None:
    expected = signed(sign, Fraction(n))
    thousands = f"{n:,}"
    forms = [str(n), f"{n}.", f"{n}.0", f"0{n}", f" {n} ", thousands]
    forms += [thousands.replace(",", mark) for mark in ("{,}", "\\,", " ", ",\\!", ",\\! ")]
    assert [value(sign + form) for form in forms] == [expected] * len(forms)


@given(naturals, st.integers(1, 15), signs)
def test_decimals(digits: int, places: int, sign: str) -> None:
    expected = signed(sign, Fraction(digits, 10**places))
    whole, part = divmod(digits, 10**places)
    plain = f"{whole}.{part:0{places}}"
    forms = [plain, plain + "00", f"{whole:,}.{part:0{places}}", f"{digits}e-{places}", f"{digits}E-{places:02}"]
    forms += [f"{digits} {times} 10^{{-{places}}}" for times in ("\\times", "\\cdot", "*", "\u00d7", "x")]
    forms += [f"{digits}\\times10^{{{-places}}}", *([] if whole else [plain[1:]])]
    assert [value(sign + form) for form in forms] == [expected] * len(forms)
    number = read_number(plain)
    assert number is not None
    assert number.places == (places if part else None)


@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(-20, 20))
def test_powers_of_ten(digits: int, places: int, power: int) -> None:
    expected = Fraction(digits) * Fraction(10) ** (power - places)
    mantissa = f"{digits // 10**places}.{digits % 10**places:0{places}}" if places else str(digits)
    forms = [f"{mantissa}e{power}", f"{mantissa}E{power:+}", f"{mantissa} \\times 10^{{{power}}}"]
    forms += [f"{mantissa} \\cdot 10^{power}", f"{mantissa} \u00d7 10^{{{power}}}", f"{mantissa} x 10^{{{power}}}"]
    assert [value(form) for form in forms] == [expected] * len(forms)
    assert value(f"10^{{{power}}}") == Fraction(10) ** power
    assert read_number(f"10^{{{power}}}") == Number(Fraction(10) ** power)  # exact: 10^{-20} is not 10^{-21}


@pytest.mark.parametrize(
    ("text", "places"),
    [("1.234e2", 1), ("1.234\\times 10^{-2}", 5), ("1.234e3", None), ("10^{-3}", None), ("1/3", None)],
)
def test_the_last_place_of_a_decimal(text: str, places: int | None) -> None:
    number = read_number(text)
    assert number is not None
    assert number.places == places


@given(st.integers(0, 10**9), positives, signs)
def test_fractions(above: int, below: int, sign: str) -> None:
    expected = signed(sign, Fraction(above, below))
    forms = [f"{sign}{above}/{below}", f"{sign}{above} / {below}"]
    forms += [f"{sign}{frac}{{{above}}}{{{below}}}" for frac in ("\\frac", "\\dfrac", "\\tfrac", "\\frac ")]
    forms += [f"\\frac{{{sign}{above}}}{{{below}}}", f"\\frac{{{above}}}{{{sign}{below}}}"]
    assert [value(form) for form in forms] == [expected] * len(forms)
    assert value(f"{above}/0") is None


@given(st.integers(1, 9), st.integers(1, 9))
def test_fractions_without_braces(above: int, below: int) -> None:
    assert value(f"\\frac{above}{below}") == value(f"\\frac{above}{{{below}}}") == Fraction(above, below)


@given(positives, positives, positives, signs)
def test_mixed_numbers(whole: int, above: int, below: int, sign: str) -> None:
    expected = signed(sign, whole + Fraction(above, below))
    forms = [f"{whole} {above}/{below}", f"{whole}\\frac{{{above}}}{{{below}}}"]
    forms += [f"{whole} \\dfrac{{{above}}}{{{below}}}"]
    assert [value(sign + form) for form in forms] == [expected] * len(forms)
    assert value(f"{whole}\\frac{{-{above}}}{{{below}}}") is None


@given(st.integers(0, 999), st.text("0123456789", max_size=4), st.text("0123456789", min_size=1, max_size=6), signs)
def test_repeating_decimals(whole: int, fixed: str, cycle: str, sign: str) -> None:
    shifted = int(f"{whole}{fixed}{cycle}") - int(f"{whole}{fixed}")  # the digits after the point cancel
    expected = signed(sign, Fraction(shifted, 10 ** len(fixed + cycle) - 10 ** len(fixed)))
    forms = [f"{whole}.{fixed}\\overline{{{cycle}}}", f"{whole}.{fixed}\\bar{{{cycle}}}"]
    assert [value(sign + form) for form in forms] == [expected] * 2


@pytest.mark.parametrize(
    "text",
    ["", "-", "x", "1.2.3", "1,2", "1 2", "--1", "2x", "1/2/3", "10^{5000}", "1e5000", "\\frac{1}{x}", "9" * 401],
)
def test_what_is_no_number(text: str) -> None:
    assert read_number(text) is None


@given(numbers, numbers)
def test_sameness_is_symmetric(a: Number, b: Number) -> None:
    assert same_number(a, b) == same_number(b, a)
    assert same_number(a, a)


@given(st.fractions(), st.fractions())
def test_exact_numbers_are_equal_exactly(a: Fraction, b: Fraction) -> None:
    assert same_number(Number(a), Number(b)) == (a == b)
    assert not same_number(Number(a), Number(a + Fraction(1, 10**100)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("number", "places", "distance"),
    [
        (Fraction(1, 3), 6, MILLIONTH / 3),  # a millionth of the larger: 0.333333
        (Fraction(37037, 3), 3, Fraction(1, 1000)),  # one unit of the last place
        (Fraction(37037, 3), -2, Fraction(37037, 3) * MILLIONTH),  # such as 1.2e4: the last place is hundreds
        (Fraction(10**9), 2, MILLIONTH),  # beside an integer a millionth
        (Fraction(10**9), 8, Fraction(1, 10**8)),
        (Fraction(0), 9, Fraction(0)),  # nothing is relatively close to 0
    ],
)
def test_the_edges_of_what_a_decimal_may_stand_for(
    number: Fraction, places: int, distance: Fraction, sign: int
) -> None:
    beyond = Fraction(1, 10**18)
    at, past = sign * (number - distance), sign * (number - distance - beyond)
    assert within_rounding(at, sign * number, places)
    assert within_rounding(sign * number, at, places)
    assert not within_rounding(past, sign * number, places)
    assert not within_rounding(sign * number, past, places)


def test_the_coarser_of_two_decimals_decides() -> None:
    coarse, fine = Number(Fraction("12345678.1"), 1), Number(Fraction("12345678.2000"), 4)
    assert same_number(coarse, fine)
    assert not same_number(Number(coarse.value, 4), fine)
    assert not same_number(coarse, Number(Fraction("12345678.21"), 2))


@pytest.mark.parametrize(
    ("text", "places"),
    [("3", None), ("3.0", None), ("3.25", 2), ("3.25x + 1.5", 1), ("3.25 + 2.0", 2), (".5", 1), ("x", None)],
)
def test_the_fewest_places_in_a_text(text: str, places: int | None) -> None:
    assert decimal_places(text) == places


@pytest.mark.parametrize(
    ("text", "numeral"),
    [
        ("2516_8", ("2516", 8)),
        ("2516_{8}", ("2516", 8)),
        ("2516_{\\text{eight}}", ("2516", 8)),
        ("(2516)_8", ("2516", 8)),
        ("2516 \\text{ (base 8)}", ("2516", 8)),
        ("1a_{16}", ("1A", 16)),
        ("2x_1", None),
        ("x_2", None),
        ("2516", None),
    ],
)
def test_numerals_in_a_base(text: str, numeral: tuple[str, int] | None) -> None:
    assert read_numeral(text) == numeral
