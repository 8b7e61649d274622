"""A run that was killed goes on as if it had not been: the same rows, to the last bit, and the same responses."""

import signal
from pathlib import Path

import pytest
from short_runs import Rows, responses, rows, run, start, steps_saved
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.slow

Whole = tuple[Path, Rows, dict[str, bytes]]


@pytest.fixture(scope="module")
def whole(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What the run leaves that nobody killed."""
    folder = run(qwen2_folder, tmp_path_factory.mktemp("whole"))
    return folder, rows(folder), responses(folder)


def test_the_run_is_worth_comparing_with(whole: Whole) -> None:
    folder, lines, _ = whole
    assert [int(row["rollout_step"]) for row in lines] == list(range(7))
    assert sum(float(row["rollout/refilled_groups"]) for row in lines[1:]) > 0
    assert len({row["reward/mean"] for row in lines[1:]}) > 3
    assert len({row["policy/grad_norm"] for row in lines[1:]}) == 6
    assert [row["rollout_step"] for row in lines if row["val/arithmetic/mean@1"]] == ["0", "2", "4", "6"]
    assert steps_saved(folder) == [4, 6]
    assert {path.name for path in (folder / "checkpoints" / "step-6").iterdir()} == {
        *("__0_0.distcp", ".metadata", "meta.pt", "checkpoint.json"),
    }


GENERATE = "gmpo.rollout.transformers.TransformersEngine.generate"
MOMENTS = [
    ("in the first validation", GENERATE, 1, False, 0),
    ("in the first step", GENERATE, 2, True, 0),
    ("in a refill", "gmpo.data.datamodule.MathDataModule.draw", 3, True, 2),
    ("in an update", "gmpo.policy.update.Update.__call__", 7, False, 2),
    ("while rows are written", "gmpo.metrics.loggers.write_metrics", 12, False, 4),
    ("as a checkpoint begins", "gmpo.checkpoint.storage.save", 2, False, 2),
    ("with its shares written", "gmpo.checkpoint.storage.complete", 2, False, 2),
    ("before it has its name", "gmpo.checkpoint.folder.publish", 2, False, 2),
    ("when it has its name", "gmpo.checkpoint.folder.publish", 2, True, 4),
    ("in a validation after it", "gmpo.callbacks.evaluation.count_group", 12, False, 4),
    ("while the config is written", "gmpo.run.folder.OmegaConf.to_yaml", 1, False, -1),
    ("with the config half there", "gmpo.checkpoint.atomic.sync", 1, False, -1),
    ("after everything but the last line", "gmpo.run.folder.mark_finished", 1, False, 6),
]


@pytest.mark.parametrize(("function", "call", "after", "step"), [pytest.param(*m[1:], id=m[0]) for m in MOMENTS])
def test_killed(
    whole: Whole, qwen2_folder: str, tmp_path: Path, function: str, call: int, after: bool, step: int
) -> None:
    dies = ("+callbacks.dies._target_=die_at.DieAt", f"+callbacks.dies.function={function}")
    moment = (f"+callbacks.dies.call={call}", f"+callbacks.dies.after={after}")
    killed = start(qwen2_folder, tmp_path, *dies, *moment)
    assert killed.wait() == -signal.SIGKILL, killed.said()
    again = start(qwen2_folder, tmp_path)
    assert again.wait() == 0, again.said()
    folder = tmp_path / "quickstart"
    if step == 6:  # it was finished but for saying so: the next run has the next name
        folder = tmp_path / "quickstart-2"
        assert (tmp_path / "quickstart" / "finished").is_file()
    elif step > 0:
        assert f"resuming {folder} after step {step} of 6" in again.said()
    elif step == 0:
        assert f"{folder} was cut off before its first checkpoint: beginning again" in again.said()
    assert rows(folder) == whole[1]
    assert responses(folder) == whole[2]
    assert steps_saved(folder) == [4, 6]
    one, other = (AutoModelForCausalLM.from_pretrained(place / "model") for place in (whole[0], folder))
    assert all(a.equal(b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_written_while_training_goes_on(whole: Whole, qwen2_folder: str, tmp_path: Path) -> None:
    """The checkpoint is of its step, whatever the updates do meanwhile."""
    settings = ("checkpoint.asynchronous=true", "checkpoint.every=1")
    dies = ("+callbacks.dies._target_=die_at.DieAt", f"+callbacks.dies.function={GENERATE}", "+callbacks.dies.call=8")
    assert start(qwen2_folder, tmp_path, *settings, *dies).wait() == -signal.SIGKILL
    again = start(qwen2_folder, tmp_path, *settings)
    assert again.wait() == 0, again.said()
    assert "resuming " in again.said()
    folder = tmp_path / "quickstart"
    assert (rows(folder), responses(folder)) == (whole[1], whole[2])


def test_another_number_of_ranks_draws_the_same_prompts(whole: Whole, qwen2_folder: str, tmp_path: Path) -> None:
    calm = "reward._target_=digit_reward.DigitShare"
    dies = ("+callbacks.dies._target_=die_at.DieAt", f"+callbacks.dies.function={GENERATE}", "+callbacks.dies.call=7")
    assert start(qwen2_folder, tmp_path, calm, *dies).wait() == -signal.SIGKILL
    again = start(qwen2_folder, tmp_path, calm, "cluster=cpu2")
    assert again.wait() == 0, again.said()
    assert "resuming on 2 ranks a checkpoint written by 1: prompts match, results are not bit-identical" in again.said()
    alone, two = rows(run(qwen2_folder, tmp_path / "alone", calm)), rows(tmp_path / "quickstart")
    for mine, expected in zip(two, alone, strict=True):
        assert float(mine["reward/mean"] or 0) == pytest.approx(float(expected["reward/mean"] or 0), abs=0.02)
