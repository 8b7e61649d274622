"""Keys and choices that do not exist are refused in one sentence, added ones too."""

import subprocess
import sys
from pathlib import Path

import pytest
from composing import EXPERIMENTS, composed
from conftest import ENVIRONMENT, ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gmpo.config import accept_model_path, clear_config_errors
from gmpo.config.keys import unread_keys
from gmpo.config.renamed import RENAMED, check_renamed, renamed
from gmpo.config.tree import has, tree


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
    cfg, known = composed(*overrides, config=config), composed(*groups, config=config)
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
        ("objective=grop", "no choice grop of objective: did you mean objective=grpo? Choose one of cispo, dapo"),
        ("benchmark=[math500,aime42]", "no choice aime42 of benchmark: did you mean benchmark=aime24?"),
    ],
)
def test_a_name_that_does_not_exist_is_one_sentence(override: str, sentence: str) -> None:
    configs = initialize_config_dir(str(ROOT / "configs"), version_base="1.3")
    with configs, clear_config_errors(), pytest.raises(SystemExit) as ended:
        compose("train", ["experiment=quickstart", override])
    assert str(ended.value).startswith(f"error: {sentence}")


@pytest.mark.parametrize(
    ("script", "overrides", "sentence"),
    [
        ("evaluate", ["+sampling.sample=8"], "no key sampling.sample: did you mean sampling.samples?"),
        (
            "plan",
            ["experiment=quickstart", "+cluster.gpu_memory=80"],
            "no key cluster.gpu_memory: did you mean cluster.gpu_memory_gib?",
        ),
        ("export", ["chekpoint=x"], "no key chekpoint: did you mean checkpoint?"),
        ("train", ["experiment=quickstart", "+data.templat=none"], "no key data.templat: did you mean data.template?"),
        (
            "train",
            ["-m", "experiment=quickstart", "batch.group_sise=4,8"],
            "no key batch.group_sise: did you mean batch.group_size?",
        ),
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
            "no key sampling.min_p: sampling has max_tokens, temperature, top_p, top_k, stop, samples",
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


TABLE = {"batch.responses": "batch.group_size", "guards.divergence": "guards.kl"}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("batch.responses", "batch.responses is now batch.group_size"),
        ("guards.divergence.high", "guards.divergence.high is now guards.kl.high"),
        ("batch.response", None),
    ],
)
def test_a_key_that_was_renamed_is_refused_with_its_new_name(key: str, said: str | None) -> None:
    assert renamed(key, TABLE) == said


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_new_name_is_there_and_the_old_one_is_not(old: str, new: str) -> None:
    cfg = tree(composed("rollout=vllm"))
    assert has(cfg, new)
    assert not has(cfg, old)


@pytest.mark.parametrize("override", ["batch.responses=4", "+batch.responses=4", "++batch.responses=4"])
def test_an_old_name_on_the_command_line_is_one_sentence(override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED, "batch.responses", "batch.group_size")
    if override.startswith("+"):  # Hydra adds it, and nothing reads it
        assert unread(override) == ["batch.responses is now batch.group_size"]
        return
    configs = initialize_config_dir(str(ROOT / "configs"), version_base="1.3")
    with configs, clear_config_errors(), pytest.raises(SystemExit) as ended:
        compose("train", ["experiment=quickstart", override])
    assert str(ended.value) == "error: batch.responses is now batch.group_size"


def test_an_old_name_in_the_file_of_an_experiment_is_refused() -> None:
    cfg = composed()
    check_renamed(tree(cfg), TABLE)
    OmegaConf.set_struct(cfg, False)
    cfg.batch.responses = 4
    with pytest.raises(ValueError, match=r"^batch.responses is now batch.group_size: change it in the file of"):
        check_renamed(tree(cfg), TABLE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model=some/model"], ["model=local", 'model.path="some/model"']),
        (["model=here"], ["model=local", 'model.path="here"']),
        (["model=tiny"], ["model=tiny"]),  # a choice, though a folder has its name
        (["model=qwen3_8"], ["model=qwen3_8"]),
        (["model="], ["model="]),
        (["-m", "model=tiny,qwen3_8b"], ["-m", "model=tiny,qwen3_8b"]),
        (["--multirun", "model=a/b,c/d"], ["--multirun", "model=local", 'model.path="a/b","c/d"']),
        (["model.path=a/b"], ["model.path=a/b"]),
    ],
)
def test_a_path_in_the_place_of_a_model(
    words: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "tiny"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert accept_model_path(words) == expected


def test_a_model_that_is_no_choice_names_those_there_are(tmp_path: Path) -> None:
    assert said(tmp_path, "experiment=quickstart", "model=qwen3_8").startswith(
        "no choice qwen3_8 of model: did you mean model=qwen3_8b? Choose one of local, "
    )


def test_a_key_of_a_group_without_a_choice(tmp_path: Path) -> None:
    assert said(tmp_path, "reward.marker=x").startswith("no reward is chosen, and reward.marker is a key of one")


@pytest.mark.parametrize("script", ["train", "plan"])
def test_without_an_experiment_all_are_listed(script: str, tmp_path: Path) -> None:
    mine = tmp_path / "experiment" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("# @package _global_\ndefaults:\n  - quickstart\n  - override /cluster: 8gpu\n")
    code = "import sys; sys.modules['torch'] = None; from gmpo.cli.main import main; main()"
    command = [sys.executable, "-c", code, script, "--config-dir", str(tmp_path), "objective=grpo"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    first, *lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert first.startswith("error: no experiment is chosen, and model, data, reward, batch.group_size, ")
    assert [line.split()[0] for line in lines] == [f"experiment={name}" for name in sorted(["mine", *EXPERIMENTS])]
    assert "  ".join(lines[EXPERIMENTS.index("quickstart") + 1].split()[1:]) == "model=tiny  data=arithmetic  CPU"
    assert lines[sorted(["mine", *EXPERIMENTS]).index("mine")].endswith("8 GPUs of 80 GB")


def test_the_console_script_knows_its_commands(tmp_path: Path) -> None:
    code = "from gmpo.cli.main import main; main()"
    for words, expected in [
        (["responses", "run=nowhere"], "error: run=nowhere holds no responses"),
        (["responses", "+steps=3"], "error: no key steps: did you mean step?"),
        (["responses", "count=0", "run=x"], "error: count=0 must be a whole number of at least 1"),
        (["trian"], "error: no command trian"),
        ([], "  gmpo train "),
    ]:
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert done.stderr.startswith(expected)
