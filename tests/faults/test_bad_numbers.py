"""A loss that is not a number: that optimizer step is skipped on all ranks, and a run of nothing else ends."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from short_runs import rows, start, steps_saved
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.slow
POISON = "+callbacks.poison._target_=bad_numbers.NotANumber"
CALM = ("reward._target_=digit_reward.DigitShare", "run.validate_every=null")


@pytest.mark.distributed
def test_one_rank_s_nan_skips_the_step_on_all(qwen2_folder: str, tmp_path: Path) -> None:
    when = ("+callbacks.poison.begin=3", "+callbacks.poison.until=4", "+callbacks.poison.on_rank=1")
    done = start(qwen2_folder, tmp_path, *CALM, POISON, *when, "cluster=cpu2", "run.steps=4")
    assert done.wait() == 0, done.said()
    folder = tmp_path / "quickstart"
    assert [row["policy/skipped_steps"] for row in rows(folder)] == ["0.0", "0.0", "2.0", "0.0"]
    assert "step 3: an optimizer step is skipped, loss nan, gradient norm nan" in done.said()
    dumped = sorted(path.name for path in (folder / "skipped_updates").iterdir())
    assert dumped == [f"step-3-update-{k}-rank-{r}.safetensors" for k in (1, 2) for r in (0, 1)]
    with safe_open(folder / "skipped_updates" / dumped[0], "pt") as file:
        assert json.loads(file.metadata()["skipped"]) | {"loss": 0, "gradient_norm": 0} == {
            **{"rollout_step": 3, "policy_version": 4, "loss": 0, "gradient_norm": 0},
        }
        assert file.get_tensor("0.token_ids").shape[0] == file.get_tensor("0.advantages").shape[0]
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_nothing_but_nan_ends_the_run_with_a_reason_and_a_checkpoint(qwen2_folder: str, tmp_path: Path) -> None:
    when = ("+callbacks.poison.begin=2", "+callbacks.poison.until=100")
    done = start(qwen2_folder, tmp_path, *CALM, POISON, *when, "policy.max_skipped_steps=3", "run.steps=50")
    assert done.wait() == 1, done.said()
    assert "error: 3 optimizer steps in a row were skipped, the last one in rollout step 3" in done.said()
    assert steps_saved(tmp_path / "quickstart") == [2, 3]
    again = start(qwen2_folder, tmp_path, *CALM, "run.steps=4")  # without the fault
    assert again.wait() == 0, again.said()
    assert "after step 3 of 4" in again.said()
