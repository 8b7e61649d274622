"""An engine whose process is killed or stands still: started again once, then the run ends with everything saved."""

import os
import signal
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import save
from short_runs import responses, rows, run, start, steps_saved
from transformers import AutoModelForCausalLM

from gmpo.rollout import SubprocessEngine
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import EngineError

pytestmark = pytest.mark.slow
KILLER = ("+callbacks.killer._target_=engine_killer.EngineKiller", "+callbacks.killer.step=3")
OWN = ("rollout.subprocess=true", "rollout.timeout=5", "sampling.max_tokens=100")


@pytest.fixture(scope="module")
def whole(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with its engine in the trainer's own process."""
    return run(qwen2_folder, tmp_path_factory.mktemp("whole"), "sampling.max_tokens=100", "run.steps=4")


@pytest.mark.parametrize(
    ("name", "said"), [("SIGKILL", "has ended (exit code -9)"), ("SIGSTOP", "said nothing for 5 s (rollout.timeout)")]
)
def test_it_is_started_again(qwen2_folder: str, tmp_path: Path, whole: Path, name: str, said: str) -> None:
    done = start(qwen2_folder, tmp_path, *OWN, *KILLER, f"+callbacks.killer.name={name}", "run.steps=4")
    assert done.wait() == 0, done.said()
    assert said in done.said()
    assert "It is started again, once" in done.said()
    folder = tmp_path / "quickstart"
    assert (rows(folder), responses(folder)) == (rows(whole), responses(whole))


@pytest.mark.distributed
def test_a_second_time_ends_the_run_on_all_ranks_with_a_checkpoint(qwen2_folder: str, tmp_path: Path) -> None:
    settings = (*OWN, *KILLER, "+callbacks.killer.times=2", "cluster=cpu2", "checkpoint.every=100", "run.steps=4")
    done = start(qwen2_folder, tmp_path, *settings)
    assert done.wait() == 1, done.said()
    assert "error: the engine's process has ended" in done.said()
    assert steps_saved(tmp_path / "quickstart") == [2]
    again = start(qwen2_folder, tmp_path, "sampling.max_tokens=100", "cluster=cpu2", "run.steps=4")
    assert again.wait() == 0, again.said()
    assert [row["rollout_step"] for row in rows(tmp_path / "quickstart")] == ["0", "1", "2", "3", "4"]


def test_one_that_stands_still_while_it_takes_weights_is_killed(qwen2_folder: str) -> None:
    engine = SubprocessEngine(TransformersEngine(qwen2_folder, "float32", max_num_seqs=8), timeout=3.0)
    engine.start()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    weights = [(f"weight {number}", torch.zeros(1 << 20)) for number in range(3)]
    taken: list[str] = []

    def gathered() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in weights:
            taken.append(name)
            yield name, tensor

    began = time.monotonic()
    with pytest.raises(EngineError, match=r"has ended \(exit code -9\)"):
        engine.load_weights(gathered(), policy_version=1)
    assert time.monotonic() - began < 10
    assert len(taken) == 3, "ranks gather weights together: all are taken"
    engine.close()


def test_one_that_hangs_in_the_trainers_process_ends_it_and_says_where(qwen2_folder: str, tmp_path: Path) -> None:
    hang = ("+callbacks.hang._target_=engine_killer.Hangs", "+callbacks.hang.step=3", "rollout.timeout=2")
    done = start(qwen2_folder, tmp_path, *hang)
    assert done.wait() == 75, done.said()
    assert "the engine has shown no sign of life for 2 s (rollout.timeout)" in done.said()
    assert 'engine_killer.py", line' in done.said()
    again = start(qwen2_folder, tmp_path)
    assert again.wait() == 0, again.said()
    assert "after step 2 of 6" in again.said()


def test_one_that_raises_in_the_trainers_process_is_started_again(
    qwen2_folder: str, tmp_path: Path, whole: Path
) -> None:
    raises = ("+callbacks.raises._target_=engine_killer.Raises", "+callbacks.raises.step=3")
    done = start(qwen2_folder, tmp_path, *raises, "sampling.max_tokens=100", "run.steps=4")
    assert done.wait() == 0, done.said()
    assert "step 3: the engine failed: MemoryError: out of it. It is started again, once" in done.said()
    assert rows(tmp_path / "quickstart") == rows(whole)


@pytest.fixture(scope="module")
def broken(qwen3_folder: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of which one weight is NaN."""
    model = AutoModelForCausalLM.from_pretrained(qwen3_folder)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[3, 4] = torch.nan
    return save(model, tmp_path_factory.mktemp("broken"))


@pytest.mark.parametrize(
    "where",
    [
        (),
        ("rollout.subprocess=true",),
        ("rollout.async_steps=1", "policy.old_log_probs=rollout", "run.validate_every=null"),
        ("cluster=cpu2",),
    ],
)
def test_weights_of_nan_end_the_run_before_it_generates(broken: str, tmp_path: Path, where: tuple[str, ...]) -> None:
    done = start(broken, tmp_path, *where)
    assert done.wait() == 1, done.said()
    assert f"error: model.path={broken}: the model's logits are not finite: its weights hold NaN" in done.said()
    for useless in ("It is started again", "Traceback", "no group carries a signal"):
        assert useless not in done.said()
    assert not (tmp_path / "quickstart" / "model").exists()


def test_weights_that_become_nan_end_the_run(qwen2_folder: str, tmp_path: Path) -> None:
    poison = ("+callbacks.poison._target_=bad_numbers.NaNWeight", "+callbacks.poison.step=2")
    done = start(qwen2_folder, tmp_path, *poison)
    assert done.wait() == 1, done.said()
    assert "model.norm.weight of the policy (after 4 updates). Begin from other weights" in done.said()
    assert "It is started again" not in done.said()


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_a_model_that_vllm_runs_in_the_code_of_transformers_trains(olmo2_folder: str, tmp_path: Path) -> None:
    started = start(olmo2_folder, tmp_path, "rollout=vllm", "run.steps=2", "run.validate_every=1")
    assert started.wait(300) == 0, started.said()[-3000:]
    _, *steps = rows(tmp_path / "quickstart")
    assert len(steps) == 2
    assert all(float(step["rollout/log_prob_gap_max"]) < 1e-5 for step in steps)


@pytest.mark.vllm
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_vllm_killed_in_its_process_and_a_run_of_it_goes_on(qwen2_folder: str, tmp_path: Path) -> None:
    short = ("rollout=vllm", "sampling.max_tokens=100", "run.steps=3", "checkpoint.every=1")
    settings = (*short, "rollout.subprocess=true", "+callbacks.killer._target_=engine_killer.EngineKiller")
    killed = start(qwen2_folder, tmp_path, *settings, "+callbacks.killer.step=2", "+callbacks.killer.times=2")
    assert killed.wait(240) == 1, killed.said()
    assert "It is started again, once" in killed.said()
    again = start(qwen2_folder, tmp_path, *short)
    assert again.wait(240) == 0, again.said()
    assert "after step 1 of 3" in again.said()
    whole = run(qwen2_folder, tmp_path / "whole", *short)
    folder = tmp_path / "quickstart"
    assert (rows(folder), responses(folder)) == (rows(whole), responses(whole))
