"""Rewards that raise, hang or eat memory."""

import time
from pathlib import Path

import pytest
from rewards_for_faults import Eats, Hangs, Raises
from short_runs import rows, start, steps_saved

from gmpo.rewards import ExactMatch, Isolated
from gmpo.rewards.reward import Reward
from gmpo.run.errors import RewardError

RAISES = ("reward._target_=rewards_for_faults.Raises", "dynamic_sampling.max_refills=0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "at_once"), [pytest.param("cpu2", False, marks=pytest.mark.distributed), ("cpu", True)]
)
def test_one_that_raises_names_prompt_and_response_and_the_run_ends_saved(
    qwen2_folder: str, tmp_path: Path, ranks: str, at_once: bool
) -> None:
    late = ("+callbacks.late._target_=late_reward.BreaksAfter", "+callbacks.late.step=2", "run.validate_every=null")
    settings = (f"cluster={ranks}", f"+callbacks.late.at_once={at_once}", "checkpoint.every=100")
    done = start(qwen2_folder, tmp_path, *settings, *late)
    assert done.wait() == 1, done.said()
    assert "error: the reward failed: ArithmeticError: an odd number of digits. Prompt: '" in done.said()
    assert "(scoring.on_error=zero would score it 0)" in done.said()
    assert steps_saved(tmp_path / "quickstart") == [2]


@pytest.mark.slow
def test_one_that_raises_can_score_0(qwen2_folder: str, tmp_path: Path) -> None:
    done = start(qwen2_folder, tmp_path, *RAISES, "scoring.on_error=zero", "run.steps=2", "run.validate_every=null")
    assert done.wait() == 0, done.said()
    assert "the reward failed: ArithmeticError: an odd number of digits. Prompt: '" in done.said()
    assert len(rows(tmp_path / "quickstart")) == 2


@pytest.fixture
def isolated(request: pytest.FixtureRequest) -> Isolated:
    reward = Isolated(request.param(), processes=1, timeout=2.0, memory_gib=0.5)
    yield reward
    reward.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("isolated", "response", "said"),
    [
        (Hangs, "hang it", r"no score within reward\.timeout=2\.0 s"),
        (Eats, "eat it", r"exceeding reward\.memory_gib=0\.5"),
        (Raises, "1", "an odd number of digits"),
    ],
    indirect=["isolated"],
)
def test_in_processes_of_its_own_it_is_killed_and_the_next_response_scored(
    isolated: Isolated, response: str, said: str
) -> None:
    assert isolated.score(["fine", "fine"], ["4", "4"]) == ([0.0, 0.0] if response == "1" else [1.0, 1.0])
    began = time.monotonic()
    with pytest.raises((RewardError, ArithmeticError), match=said):
        isolated.score([response], ["4"])
    assert time.monotonic() - began < 10
    assert isolated.score(["fine."], ["4"]) == [1.0]


@pytest.mark.slow
def test_it_scores_as_the_reward_does() -> None:
    reward: Reward = ExactMatch(marker="=")
    isolated = Isolated(reward)
    responses, answers = ["1=4", "=5", "", "4=4"], ["4", "4", "4", "4"]
    assert isolated.score(responses, answers) == reward.score(responses, answers)
    isolated.close()


@pytest.mark.parametrize("wrong", [{"processes": 0}, {"timeout": 0}, {"memory_gib": -1}])
def test_settings_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Isolated(ExactMatch(), **wrong)  # type: ignore[arg-type]
