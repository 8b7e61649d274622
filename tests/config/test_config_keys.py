"""Keys and choices that do not exist are refused in one sentence, added ones too."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT
from hydra import compose, initialize_config_dir

from gmpo.config import clear_config_errors
from gmpo.config.keys import tree, unread_keys


def said(folder: Path, *overrides: str, script: str = "train") -> str:
    """What the command says of overrides that it refuses."""
    command = [sys.executable, str(ROOT / f"{script}.py"), *overrides]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, "one sentence"
    return done.stderr.removeprefix("error: ").strip()


def unread(*overrides: str, config: str = "train") -> list[str]:
    """The sentences about added keys. Overrides with + come after those of groups."""
    groups = [override for override in overrides if override.startswith("reward=")]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg, known = compose(config, list(overrides)), compose(config, groups)
    return unread_keys(tree(cfg), tree(known))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("batch.group_sise=4", "no key batch.group_sise: did you mean batch.group_size?"),
        ("data.templat=none", "no key data.templat: did you mean data.template?"),
        ("lr=1e-6", "no key lr: did you mean optimizer.lr?"),
        ("run.frobnicate=1", "no key run.frobnicate: run has name, root, steps, seed"),
        ("~reward.markr", "no key reward.markr: did you mean reward.marker?"),
        ("batch={group_sise:4}", "no key batch.group_sise: did you mean batch.group_size?"),
        (
            "policy.pretrained.sharding.offload=true",
            "no key policy.pretrained.sharding.offload: did you mean sharding.offload?",
        ),
        ("+batch.group_size=4", "the key batch.group_size is there already: set it by batch.group_size=4"),
        ("objectiv=grpo", "no key objectiv: did you mean objective?"),
        ("objective=grop", "no choice grop of objective: did you mean objective=grpo? There are cispo, dapo"),
        ("benchmark=[math500,aime42]", "no choice aime42 of benchmark: did you mean benchmark=aime24?"),
    ],
)
def test_a_name_that_does_not_exist_is_one_sentence(override: str, sentence: str) -> None:
    configs = initialize_config_dir(str(ROOT / "configs"), version_base="1.3")
    with configs, clear_config_errors(), pytest.raises(SystemExit) as ended:
        compose("train", [override])
    assert str(ended.value).startswith(f"error: {sentence}")


@pytest.mark.parametrize(
    ("script", "overrides", "sentence"),
    [
        ("evaluate", ["+sampling.sample=8"], "no key sampling.sample: did you mean sampling.samples?"),
        ("plan", ["+cluster.gpu_memory=80"], "no key cluster.gpu_memory: did you mean cluster.gpu_memory_gib?"),
        ("export", ["chekpoint=x"], "no key chekpoint: did you mean checkpoint?"),
        ("responses", ["+steps=3"], "no key steps: did you mean step?"),
        ("train", ["+data.templat=none"], "no key data.templat: did you mean data.template?"),
        ("train", ["-m", "batch.group_sise=4,8"], "no key batch.group_sise: did you mean batch.group_size?"),
        ("train", ["-m", "objective=gmpo,grop"], "no choice grop of objective: did you mean objective=grpo?"),
    ],
)
def test_every_command_refuses_them(tmp_path: Path, script: str, overrides: list[str], sentence: str) -> None:
    assert sentence in said(tmp_path, *overrides, script=script)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("+data.templat=none", "no key data.templat: did you mean data.template?"),
        ("++data.templat=none", "no key data.templat: did you mean data.template?"),
        ("+optimizer.foreech=true", "no key optimizer.foreech: did you mean optimizer.foreach?"),
        ("+trainer.max_stepss=1", "no key trainer.max_stepss: did you mean trainer.max_steps?"),
        (
            "+sampling.min_p=0.1",
            "no key sampling.min_p: sampling has max_tokens, samples, temperature, top_p, top_k, stop",
        ),
        ("+objective.clip=0.1", "no key objective.clip: did you mean objective.clip_low?"),
        ("+callbacks.chekpoint.every=4", "no key callbacks.chekpoint: did you mean callbacks.checkpoint?"),
        ("+callbacks.checkpoint.evry=4", "no key callbacks.checkpoint.evry: did you mean callbacks.checkpoint.every?"),
        ("+guards.entrop.low=0.1", "no key guards.entrop: did you mean guards.entropy?"),
        ("+data.extra={path: a}", "no key data.extra: data has "),
        ("+seed=1", "no key seed: did you mean run.seed?"),
    ],
)
def test_what_nothing_reads_is_refused(override: str, sentence: str) -> None:
    (found,) = unread(override)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "override",
    [
        "+model.overrides.max_position_embeddings=32768",
        "+model.overrides.rope_parameters={rope_type: yarn}",
        "+model.shape.head_dim=64",
        "+optimizer.foreach=true",
        "+optimizer._convert_=all",
        "+trainer.gradient_clip_val=1.0",
        "+callbacks.mine._target_=my_module.MyCallback",
        "+logger.mine._target_=my_module.MyLogger",
        "+reward.answers={a: 1}",  # of a class that cannot be imported: instantiate will say so
        "+guards.mine={_target_: gmpo.callbacks.Guard, metric: reward/mean, cause: x}",
    ],
)
def test_open_places_take_what_their_class_takes(override: str) -> None:
    own = ["reward._target_=my_module.MyReward"] if override.startswith("+reward") else []
    assert unread(*own, override) == []


def test_parts_of_a_sum_have_names_of_the_users_own() -> None:
    assert unread("reward=math_and_format", "+reward.rewards.mine._target_=my.Reward", "+reward.weights.mine=1") == []


def test_a_key_that_another_one_refers_to_is_read() -> None:
    assert unread("+data.shortest=4", "data.max_prompt_tokens=${data.shortest}") == []
    assert len(unread("+data.shortest=4", "+data.longest=8", "data.max_prompt_tokens=${data.shortest}")) == 1


def test_another_schedule_brings_its_own_keys() -> None:
    cosine = ("schedule._target_=torch.optim.lr_scheduler.CosineAnnealingLR", "~schedule.start_factor")
    assert unread(*cosine, "~schedule.total_iters", "+schedule.T_max=100") == []
    (found,) = unread(*cosine, "~schedule.total_iters", "+schedule.T_min=100")
    assert found == "no key schedule.T_min: schedule has optimizer, T_max, eta_min, last_epoch"
