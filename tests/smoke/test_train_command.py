"""`python train.py` as a user types it, on a small random model: what it writes, prints and repeats."""

import csv
import json
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import forked
import pytest
from conftest import ENVIRONMENT, ROOT
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
SMALL = (
    "experiment=quickstart",
    "model=local",
    "~reward.marker",
    "reward._target_=digit_reward.DigitShare",
    "data.dataset.validation_size=8",
    "batch.prompts=8",
    "batch.mini_batch_prompts=4",
    "sampling.max_tokens=12",
    "optimizer.lr=2e-2",
    "run.validate_every=2",
    "cluster.threads=1",
)
slow = partial(pytest.param, marks=pytest.mark.slow)  # torch is imported before the error is found
needs_vllm = pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")


def train(*overrides: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return forked.run("train.py", *overrides, folder=cwd, paths=[str(HERE)])


def run_small(folder: Path, model: str, *overrides: str) -> list[dict[str, str]]:
    """The rows of metrics.csv."""
    done = train(*SMALL, f"model.path={model}", f"run.root={folder}", *overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    with (folder / "quickstart" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def without_times(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "throughput/"))} for row in rows]


def test_a_run_learns_and_leaves_its_record(tmp_path: Path, qwen2_folder: str) -> None:
    rows = run_small(tmp_path, qwen2_folder, "rollout=transformers", "run.steps=11")
    assert [int(row["rollout_step"]) for row in rows] == list(range(12))
    rewards = [float(row["reward/mean"]) for row in rows[1:]]
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3])
    assert [step for step, row in enumerate(rows) if row["val/arithmetic/mean@1"]] == [0, 2, 4, 6, 8, 10, 11]
    run = tmp_path / "quickstart"
    assert OmegaConf.load(run / "config.yaml").rollout.engine._target_ == "gmpo.rollout.transformers.TransformersEngine"
    records = [json.loads(line) for line in (run / "rollouts" / "train.jsonl").read_text().splitlines()]
    assert len(records) == 11 * 2 * 8  # steps, groups, responses
    assert {"prompt", "response", "answer", "reward", "advantage"} <= set(records[0])
    assert list((run / "tensorboard").glob("events.*"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["quickstart"]


def test_validation_can_be_switched_off_and_the_policy_is_saved(tmp_path: Path, qwen2_folder: str) -> None:
    rows = run_small(tmp_path, qwen2_folder, "rollout=transformers", "run.steps=2", "run.validate_every=null")
    assert [int(row["rollout_step"]) for row in rows] == [1, 2]
    assert not [name for name in rows[0] if name.startswith("val/")]
    saved = tmp_path / "quickstart" / "model"
    trained, before = (AutoModelForCausalLM.from_pretrained(folder) for folder in (saved, qwen2_folder))
    change = [(a - b).abs().max() for a, b in zip(trained.parameters(), before.parameters(), strict=True)]
    assert min(change) > 0
    assert AutoTokenizer.from_pretrained(saved).chat_template


@pytest.mark.slow
def test_the_same_command_twice_gives_the_same_metrics(tmp_path: Path, qwen2_folder: str) -> None:
    arguments = ("rollout=transformers", "run.steps=3")
    one = run_small(tmp_path / "one", qwen2_folder, *arguments)
    two = run_small(tmp_path / "two", qwen2_folder, *arguments)
    assert without_times(one) == without_times(two)
    rewards = [float(row["reward/mean"]) for row in one[1:]]
    assert len(set(rewards)) == 3
    other = run_small(tmp_path / "three", qwen2_folder, *arguments, "run.seed=1")
    assert without_times(one) != without_times(other)


@needs_vllm
@pytest.mark.vllm
def test_vllm_generates_and_agrees_with_the_trainer(tmp_path: Path, qwen2_folder: str) -> None:
    one = run_small(tmp_path / "one", qwen2_folder, "run.steps=4")
    assert max(float(row["rollout/log_prob_gap"]) for row in one[1:]) < 1e-5
    assert "VLLMEngine" in (tmp_path / "one" / "quickstart" / "config.yaml").read_text()
    two = run_small(tmp_path / "two", qwen2_folder, "run.steps=4")
    assert without_times(one) == without_times(two)


def test_gsm8k_from_local_files(tmp_path: Path, qwen2_folder: str) -> None:
    row = {"question": "Ann has 3 pens and buys 4. How many has she?", "answer": "3+4=<<3+4=7>>7\n#### 7"}
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text((json.dumps(row) + "\n") * 10)
    data = ("data=gsm8k", f"data.path={tmp_path / 'train.jsonl'}", "data.max_prompt_tokens=128")
    small = [override for override in SMALL if not override.startswith("data.")]
    done = train(
        *small,
        *data,
        f"model.path={qwen2_folder}",
        f"run.root={tmp_path}",
        "rollout=transformers",
        "run.steps=1",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "quickstart" / "rollouts" / "train.jsonl").read_text().splitlines()[0])
    assert "Ann has 3 pens" in record["prompt"]
    assert record["answer"] == "7"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["objective=ppo"], ["ppo", "gmpo", "grpo"]),
        (["batch.mini_batch_prompts=24"], ["64 = 2 x 24 + 16"]),
        (["batch.group_size=1"], ["batch.group_size=1", "2 or more"]),
        slow(
            ["data=gsm8k", "data.path=nowhere.jsonl", "data.max_prompt_tokens=128", "rollout=transformers"],
            ["nowhere.jsonl", "data.path"],
        ),
        (["model=local", "model.path=/nowhere"], ["/nowhere", "does not exist"]),
        slow(["run.name=a/b", "rollout=transformers"], ["run.name", "run.root"]),
        (["rollout.package=not_there"], ["not_there", "make setup", "rollout=transformers"]),
        slow(["data.template=poem", "rollout=transformers"], ["poem", "question_answer"]),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, qwen2_folder: str, overrides: list[str], said: list[str]) -> None:
    model = [] if "model=local" in overrides else ["model=local", f"model.path={qwen2_folder}"]
    done = train("experiment=quickstart", f"run.root={tmp_path}", *model, *overrides)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_launcher_that_is_not_installed_is_one_clear_error() -> None:
    absent = "import runpy, sys; sys.modules['hydra_plugins'] = None; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", f"{absent}runpy.run_path('train.py', run_name='__main__')"]
    command += ["train.py", "-m", "hydra/launcher=submitit_slurm"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stderr == (
        "error: hydra/launcher=submitit_slurm needs the package hydra-submitit-launcher: pip install '.[slurm]'\n"
    )


def test_help_lists_the_groups() -> None:
    text = train("--help").stdout
    for group in (
        "experiment",
        "model",
        "cluster",
        "data",
        "objective",
        "advantage",
        "reward",
        "rollout",
        "logger",
    ):
        assert f"{group}: " in text
    assert "gmpo, gmpo_noclip, gmpo_seqclip, grpo" in text
    assert "objective=grpo run.steps=20" in text
