import pytest

from gmpo.rewards import Overlong
from gmpo.types import Response


def response(tokens: int, truncated: bool = False) -> Response:
    return Response([5] * tokens, [0.0] * tokens, "", truncated)


@pytest.mark.parametrize(("tokens", "penalty"), [(1, 0.0), (12, 0.0), (13, 0.25), (14, 0.5), (16, 1.0)])
def test_the_penalty_grows_over_the_last_tokens_before_the_limit(tokens: int, penalty: float) -> None:
    assert Overlong(16, buffer=4).penalty(response(tokens)) == penalty
    assert Overlong(16, buffer=4, factor=0.5).penalty(response(tokens)) == penalty / 2
    assert Overlong(16).penalty(response(tokens)) == 0


def test_the_whole_length_can_be_the_buffer() -> None:
    assert [Overlong(4, buffer=4).penalty(response(n)) for n in (1, 2, 4)] == [0.25, 0.5, 1.0]


def test_filtering_leaves_out_truncated_responses_alone() -> None:
    assert Overlong(16, filter_truncated=True).in_loss(response(16))
    assert not Overlong(16, filter_truncated=True).in_loss(response(16, truncated=True))
    assert Overlong(16).in_loss(response(16, truncated=True))
