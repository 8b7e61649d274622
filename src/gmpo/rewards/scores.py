"""Scores of a reward as floats: one for each response, each of them finite."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from inspect import isawaitable, iscoroutine

from gmpo.run.errors import RewardError

LARGEST = 1e18  # its square is a float32
LONGEST = 60  # characters of a value in a message


class MalformedScoresError(RewardError):
    """A result of a reward that is not one value for each response."""


def as_score(value: object) -> float:
    """Return one value of a reward as a float; raise RewardError if it is no finite number.

    Anything that converts to a float is taken: a bool, a NumPy scalar, a tensor of one element; text is not, even
    digits.
    """
    end_coroutine(value)
    try:
        plain = value.detach() if hasattr(value, "detach") else value  # a tensor, where torch may not be imported
        score = math.nan if isinstance(value, str | bytes) else float(plain)  # type: ignore[arg-type]
    except Exception as error:
        raise RewardError(f"it returned {shown(value)}, where a number is expected") from error
    if not math.isfinite(score):
        raise RewardError(f"it returned {shown(value)}, where a finite number is expected")
    if abs(score) > LARGEST:
        raise RewardError(
            f"it returned {shown(value)}, which is too large to compare in float32: stay below {LARGEST:g}"
        )
    return score


def values_of(
    score: Callable[[Sequence[str], Sequence[str]], object], responses: Sequence[str], answers: Sequence[str]
) -> list[object]:
    """Return what a reward's `score` returns, as a list of one value for each response.

    Raises MalformedScoresError if it returns anything else; the reward's own errors pass through.
    """
    values = score(responses, answers)
    end_coroutine(values)
    expected = f"a list of one number for each of {len(responses)} responses is expected"
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise MalformedScoresError(f"`score` returned {shown(values)}, where {expected}")
    try:
        found = list(values)
    except TypeError as error:  # an array without a dimension calls itself iterable
        raise MalformedScoresError(f"`score` returned {shown(values)}, where {expected}") from error
    if len(found) != len(responses):
        raise MalformedScoresError(f"`score` returned {len(found)} values for {len(responses)} responses")
    return found


def shown(value: object) -> str:
    """Return a value's beginning and its type, for a message."""
    text = repr(value)
    hint = ", as an `async def` does" if isawaitable(value) else ""
    return f"{text if len(text) <= LONGEST else text[: LONGEST - 3] + '...'} ({type(value).__name__}{hint})"


def end_coroutine(value: object) -> None:
    """End a coroutine that nobody will await, so that Python does not warn of it as well."""
    if iscoroutine(value):
        value.close()
