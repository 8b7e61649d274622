"""Equations and inequalities: which are solved, which are the same."""

import pytest

from gmpo.verifier.equivalence import same_meaning
from gmpo.verifier.families import read_family, same_family
from gmpo.verifier.parsing import parsed
from gmpo.verifier.relations import is_solved, solutions


def meaning(answer: str, gold: str) -> bool:
    a, b = parsed(answer), parsed(gold)
    assert a is not None
    assert b is not None
    return same_meaning(a, b, places=None)


@pytest.mark.parametrize("text", ["x > 3", "3 \\ge x", "1 < x \\le 2", "x = 5", "x \\ne 2"])
def test_solved(text: str) -> None:
    e = parsed(text)
    assert e is not None
    assert is_solved(e)
    assert solutions(e) is not None


@pytest.mark.parametrize("text", ["2x > 6", "x - 3 > 0", "x^2 < 1", "|x| < 1", "x + y = 1", "x + 1 = 3"])
def test_unsolved(text: str) -> None:
    e = parsed(text)
    assert e is not None
    assert not is_solved(e)
    assert solutions(e) is None


def test_equations_are_the_same_up_to_a_factor() -> None:
    assert meaning("4x+2y=6", "2x+y=3")
    assert meaning("y=3-2x", "2x+y=3")
    assert not meaning("2x+y=4", "2x+y=3")
    assert not meaning("0=0", "2x+y=3")
    assert not meaning("3", "2x+y=3")
    assert not meaning("x^2=-9", "x^2=-1")  # neither has a real solution
    assert not meaning("2x=4", "x=2")  # still to be solved


def test_families_are_the_same_whatever_their_letter() -> None:
    gold = read_family("\\frac{\\pi}{4} + k\\pi, k \\in \\mathbb{Z}")
    assert gold is not None
    for text, same in (
        ("n\\pi + \\frac{\\pi}{4} (n\\in\\mathbb{Z})", True),
        ("k\\pi - \\frac{3\\pi}{4}, k \\in \\mathbb{Z}", True),
        ("\\frac{\\pi}{4} - m\\pi \\text{ for any integer } m", True),
        ("\\frac{\\pi}{4} + 2k\\pi, k \\in \\mathbb{Z}", False),
        ("\\frac{\\pi}{4} + k\\pi, k \\in \\mathbb{N}", False),
    ):
        family = read_family(text)
        assert family is not None, text
        assert same_family(family, gold, lambda a, b: same_meaning(a, b, None)) is same, text
