import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from composing import CHOICES, CONFIGS, EXPERIMENTS, composed
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_class, get_object, instantiate
from omegaconf import OmegaConf
from safetensors.numpy import save_file

from gmpo.config import check, check_recipe, divisors, old_log_probs
from gmpo.config.resolvers import STOP_OF_TEMPLATE
from gmpo.data.templates import TEMPLATES
from gmpo.objectives import GMPO, GRPO, KLPenalty
from gmpo.policy.module import PolicyModule
from gmpo.rewards import Overlong
from gmpo.rollout import DynamicSampling
from gmpo.run.folder import save_config
from gmpo.run.resume import differences

EXTRAS = ("logger/wandb", "logger/mlflow")  # their packages are optional


def refusal(*overrides: str) -> str:
    """The one message of a wrong config."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        check(composed(*overrides))
    assert error.type is ValueError, f"{error.type.__name__} is not ours: {error.value}"
    assert "\n" not in str(error.value)
    return str(error.value)


def targets(node: object, file: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(file, _target_, the keys beside it) of a config, at any depth."""
    if isinstance(node, dict):
        if node.get("_target_", "???") != "???":
            yield file, node["_target_"], tuple(key for key in node if key != "defaults" and key[0] != "_")
        for value in node.values():
            yield from targets(value, file)


TARGETS = [
    found
    for path in sorted(CONFIGS.rglob("*.yaml"))
    if (file := path.relative_to(CONFIGS).with_suffix("").as_posix()) not in EXTRAS
    for found in targets(OmegaConf.to_container(OmegaConf.load(path)), file)
]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_composes_and_passes(experiment: str) -> None:
    cfg = composed(f"experiment={experiment}")
    check_recipe(cfg)
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_run_is_named_after_the_experiment(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("train", [f"experiment={experiment}"], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg)  # as hydra.main does
    assert cfg.run.name == experiment


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes(choice: str) -> None:
    group, name = choice.split("/")
    needs = {"model/local": ["model.path=some/model"], "reward/isolated": ["reward.reward._target_=a.Reward"]}
    OmegaConf.to_container(composed(f"{group}={name}", *needs.get(choice, [])), resolve=True, throw_on_missing=True)


@pytest.mark.filterwarnings("ignore:.*is validated against ConfigStore schema")
@pytest.mark.skipif(find_spec("submitit") is None, reason="hydra-submitit-launcher is not installed")
@pytest.mark.parametrize(("accelerator", "gpus"), [("cpu", None), ("gpu", 8)])
def test_a_slurm_job_has_a_task_for_each_rank(accelerator: str, gpus: int | None) -> None:
    cluster = (f"cluster.accelerator={accelerator}", "cluster.devices=8", "cluster.nodes=2")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose(
            "train", ["experiment=quickstart", "hydra/launcher=submitit_slurm", *cluster], return_hydra_config=True
        )
    asked = cfg.hydra.launcher
    assert (asked.nodes, asked.tasks_per_node, asked.gpus_per_node) == (2, 8, gpus)
    assert (asked.signal_delay_s, asked.submitit_folder) == (600, "runs/submitit/%j")


@pytest.mark.parametrize(("file", "target", "keys"), TARGETS)
def test_targets_exist_and_take_their_keys(file: str, target: str, keys: tuple[str, ...]) -> None:
    inspect.signature(get_object(target)).bind_partial(**dict.fromkeys(keys))


OBJECTIVES = [path.stem for path in (CONFIGS / "objective").glob("*.yaml") if "defaults" not in OmegaConf.load(path)]


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_objective_defaults_have_one_value(name: str) -> None:
    cfg = composed(f"objective={name}").objective
    objective = get_class(cfg._target_)
    assert objective.__name__.lower() == name
    assert instantiate(cfg) == objective()
    assert {key: value for key, value in cfg.items() if key != "_target_"} == asdict(objective())


def test_parts_that_are_off_by_default() -> None:
    cfg = composed()
    assert instantiate(cfg.kl) == KLPenalty()
    assert instantiate(cfg.dynamic_sampling) == DynamicSampling()
    assert instantiate(cfg.overlong) == Overlong(cfg.sampling.max_tokens)
    defaults = {name: p.default for name, p in inspect.signature(PolicyModule).parameters.items()}
    for name in ("skip_zero_advantage", "reference_on_cpu"):
        assert cfg.policy[name] == defaults[name]
    assert old_log_probs(composed("experiment=qwen2_5_7b_math")) == defaults["old_log_probs"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("run.seed=0", "rollout"),
        ("policy.old_log_probs=trainer", "trainer"),
        ("cluster.dtype=bfloat16", "trainer"),
        ("rollout.engine.dtype=bfloat16", "trainer"),
        ("correction=masked", "trainer"),
        ("cluster=1gpu cluster.dtype=float32", "trainer"),
        ("sampling.top_p=0.9", "trainer"),
        ("sampling.top_k=20", "trainer"),
        ("cluster.dtype=bfloat16 rollout.async_steps=1", "rollout"),
        ("correction=truncated rollout.async_steps=1", "trainer"),
    ],
)
def test_the_quickstart_takes_the_engines_log_probs_where_they_are_the_trainers(overrides: str, expected: str) -> None:
    cfg = composed("experiment=quickstart", *overrides.split())
    assert old_log_probs(cfg) == expected
    check(cfg)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("gmpo_seqclip", GMPO(clip_level="sequence")),
        ("gmpo_noclip", GMPO(clip_level="none")),
        ("dapo", GRPO(clip_low=0.2, clip_high=0.28)),
        ("dr_grpo", GRPO(aggregation="sequence_sum_norm", horizon=40)),
    ],
)
def test_objectives_that_differ_by_a_setting(choice: str, expected: object) -> None:
    assert instantiate(composed(f"objective={choice}").objective) == expected


def test_old_log_probs_of_the_engine_leave_nothing_to_correct() -> None:
    said = refusal("policy.old_log_probs=rollout", "correction=truncated")
    assert "policy.old_log_probs=rollout with the correction gmpo.objectives.correction.ImportanceSampling" in said
    assert "correction=none" in said
    check(composed("policy.old_log_probs=rollout"))
    for truncated in ("sampling.top_p=0.9", "sampling.top_k=50"):
        assert truncated in refusal("policy.old_log_probs=rollout", truncated)


@pytest.mark.parametrize("cut", ["sampling.top_p=0.9", "sampling.top_k=50", "sampling.top_p=0.999"])
@pytest.mark.parametrize("choice", ["masked", "truncated"])
def test_a_correction_needs_the_whole_distribution(cut: str, choice: str) -> None:
    said = refusal(f"correction={choice}", cut)
    assert "the correction gmpo.objectives.correction.ImportanceSampling with sampling." in said
    assert cut in said
    assert "Choose top_p=1 and top_k=0, or correction=none" in said
    assert cut in refusal(f"correction={choice}", cut, "rollout.async_steps=1")
    check(composed(f"correction={choice}", "validation.top_p=0.7", "validation.top_k=3", "sampling.temperature=0.7"))
    check(composed(cut))  # nothing is compared with what the engine reports


def test_a_template_brings_its_stop_strings() -> None:
    assert set(STOP_OF_TEMPLATE) <= set(TEMPLATES)
    for name, chosen in (("train", ["experiment=quickstart"]), ("evaluate", [])):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            for overrides, expected in [
                ([], ()),
                (["data.template=r1"], ("</answer>",)),
                (["data.template=r1", "sampling.stop=[]"], ()),
                (['data.template="<answer>{question}: "', 'sampling.stop=["</answer>",b]'], ("</answer>", "b")),
            ]:
                cfg = compose(
                    name, [*chosen, "++run.name=test", "sampling.max_tokens=9", "++batch.group_size=2", *overrides]
                )
                assert instantiate(cfg.sampling).stop == instantiate(cfg.validation).stop == expected
                if name == "train":  # the way of a run: through what refers to them
                    callback = instantiate(cfg.callbacks.rollout)
                    assert callback.training.sampling.stop == callback.validation.sampling.stop == expected


def test_a_run_goes_on_with_the_same_stop_strings_alone(tmp_path: Path) -> None:
    save_config(composed("data.template=r1"), tmp_path)
    assert differences(composed("data.template=r1"), tmp_path) == []
    assert differences(composed("data.template=r1", 'sampling.stop=["</answer>"]'), tmp_path) == []
    said = differences(composed("data.template=r1", "sampling.stop=[]"), tmp_path)
    assert said == ["sampling.stop was ['</answer>'], is []", "validation.stop was ['</answer>'], is []"]


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ('"</answer>"', 'stop=</answer> must be a list of texts, such as stop=["</answer>"]'),
        ("null", "stop=None must be a list of texts"),
        ('["a",""]', "stop=['a', ''] holds '': each entry must be a text of at least one character"),
        ("[1]", "stop=[1] holds 1"),
        ("[null]", "stop=[None] holds None"),
        ("{a:b}", "stop={'a': 'b'} must be a list of texts"),
    ],
)
def test_stop_strings_are_texts(stop: str, said: str) -> None:
    with pytest.raises(InstantiationException) as error:
        instantiate(composed(f"sampling.stop={stop}").callbacks.rollout.sampling)
    assert isinstance(error.value.__cause__, ValueError)
    assert said in str(error.value.__cause__)
    for name in ("sampling", "validation"):
        assert f"{name}.stop=" in refusal(f"{name}.stop={stop}")


def test_generation_ahead_brings_a_process_and_ratios_to_the_weights_that_sampled() -> None:
    recipe = "experiment=qwen2_5_7b_math"
    cfg, at_once = composed(recipe, "rollout.async_steps=1"), composed(recipe)
    check(cfg)
    assert (cfg.rollout.subprocess, old_log_probs(cfg)) == (True, "rollout")
    assert (at_once.rollout.subprocess, old_log_probs(at_once)) == (False, "trainer")
    assert "subprocess=False: an engine in the trainer's process" in refusal(
        "rollout.async_steps=1", "rollout.subprocess=false"
    )
    trainer = ("rollout.async_steps=1", "policy.old_log_probs=trainer")
    assert "which nothing would account for" in refusal(*trainer)
    check(composed(*trainer, "correction=truncated"))
    for wrong in ("2", "true", "0.5"):
        assert "must be 0 or 1" in refusal(f"rollout.async_steps={wrong}", "rollout.subprocess=true")


@pytest.mark.parametrize("override", ["kl.coefficient=abc", "entropy.coefficient=true", "overlong.buffer=null"])
def test_numbers_are_numbers(override: str) -> None:
    assert f"{override.replace('null', 'None').replace('true', 'True')} must be a number" in refusal(override)


@pytest.mark.parametrize(
    "key",
    [
        *("overlong.filter_truncated", "policy.skip_zero_advantage", "policy.reference_on_cpu", "checkpoint.requeue"),
        "profile",
    ],
)
def test_switches_are_true_or_false(key: str) -> None:
    assert refusal(f"{key}=maybe") == f"{key}=maybe must be true or false"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cluster.devices=0"], "cluster.devices=0 must be a whole number of at least 1"),
        (["cluster.devices=6", "cluster.cp=4"], "6 = 1 x 4 + 2"),
        (["cluster.devices=4", "cluster.dp_shard=3"], "= 3 ranks, but 4 are started"),
        (["cluster.devices=2", "cluster.nodes=2"], "torchrun --nnodes 2 --nproc-per-node 2 train.py"),
        (["cluster.devices=3"], "batch.prompts=64 cannot be shared by 3 engines (3 ranks / "),
        (["cluster.devices=3"], "64 = 21 x 3 + 1. Choose a multiple of 3"),
    ],
)
def test_ranks_that_cannot_be_arranged_are_refused_with_the_arithmetic(overrides: list[str], said: str) -> None:
    assert said in refusal(*overrides)


def test_an_engine_spans_a_divisor_of_the_ranks() -> None:
    vllm = "rollout=vllm"
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    six = ("cluster.devices=6", "batch.prompts=72", "batch.mini_batch_prompts=12")
    check(composed(vllm, *six, "rollout.engine.tensor_parallel=2"))
    said = refusal(vllm, *six, "rollout.engine.tensor_parallel=4")
    assert "rollout.engine.tensor_parallel=4 must divide the 6 ranks" in said
    assert "1, 2, 3, 6" in said
    said = refusal(vllm, *six, "rollout.engine.tensor_parallel=3")
    assert "tensor_parallel=3 does not divide the 4 attention heads of the model: 4 = 1 x 3 + 1" in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("cluster.gpu_memory_gib=80GB", "cluster.gpu_memory_gib=80GB must be a number above 0"),
        ("cluster.speed.tflops=0", "cluster.speed.tflops=0 must be a number above 0"),
        ("cluster.dtype=int8", "cluster.dtype=int8 must be one of bfloat16, float16, float32"),
        ("cluster.accelerator=tpu", "cluster.accelerator=tpu must be cpu or gpu"),
        (
            "policy.max_logits_per_chunk=-1",
            "policy.max_logits_per_chunk=-1 must be a whole number of at least 1, or null",
        ),
        ("model.overrides=null", "model.overrides=None must be keys of config.json: +model.overrides.KEY=VALUE"),
    ],
)
def test_what_a_cluster_has_is_checked(override: str, said: str) -> None:
    assert said in refusal(override)


def test_positions_can_be_raised_as_the_message_says(qwen2_folder: str) -> None:
    local = ["model=local", f"model.path={qwen2_folder}", "sampling.max_tokens=600"]
    said = refusal(*local)
    assert "are more than the 512 positions" in said
    assert "+model.overrides.max_position_embeddings=NUMBER" in said
    check(composed(*local, "+model.overrides.max_position_embeddings=1024"))


def test_overrides_are_plain_values_however_deep() -> None:
    nested = "+model.overrides.rope_parameters={rope_type: yarn, factor: 2.0}"
    cfg = composed("model=local", "model.path=some/model", nested)
    for node in (cfg.policy.pretrained, cfg.rollout.engine):
        found = instantiate(node).overrides
        assert type(found["rope_parameters"]) is dict


def test_heads_must_be_divisible_by_the_ranks_that_share_a_sequence(qwen2_folder: str) -> None:
    local = ["model=local", f"model.path={qwen2_folder}", "data.max_prompt_tokens=64"]
    check(composed(*local, "cluster.devices=2", "cluster.cp=2"))
    assert "cluster.cp=4 does not divide the 2 attention heads" in refusal(*local, "cluster.devices=4", "cluster.cp=4")


def test_ranks_that_share_a_sequence_put_their_budgets_together() -> None:
    lengths = ["data.max_prompt_tokens=100", "sampling.max_tokens=60", "batch.max_tokens_per_micro_batch=80"]
    check(composed(*lengths, "cluster.devices=2", "cluster.cp=2"))
    assert "raise it to at least 160" in refusal(*lengths)
    assert "x cluster.cp=2: raise it to at least 90" in refusal(
        *lengths, "sampling.max_tokens=80", "cluster.devices=2", "cluster.cp=2"
    )


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["kl.coefficient=-1"], "kl.coefficient=-1"),
        (["kl.kind=k4"], "k4"),
        (["kl.placement=advantage"], "kl.placement"),
        (["dynamic_sampling.max_refills=-1"], "dynamic_sampling.max_refills=-1"),
        (["dynamic_sampling.max_refills=inf"], "dynamic_sampling.max_refills=inf"),
        (["objective.clip_low=abc"], "clip_low"),
        (["overlong.buffer=41"], "overlong.buffer=41 must be between 0 (off) and the limit, sampling.max_tokens=40"),
        (["overlong.factor=-0.5"], "overlong.factor=-0.5"),
        (["correction=masked", "correction.low=2"], "correction.low=2"),
        (["correction=truncated", "correction.level=word"], "correction.level"),
        (["objective=gspo", "objective.clip_low=-1"], "clip_low"),
        (["objective=sapo", "objective.tau_neg=0"], "tau_neg"),
        (["objective=dr_grpo", "objective.horizon=0"], "horizon"),
    ],
)
def test_values_that_a_part_refuses(overrides: list[str], named: str) -> None:
    cfg = composed(*overrides)
    with pytest.raises(InstantiationException) as error:
        list(map(instantiate, (cfg.kl, cfg.dynamic_sampling, cfg.overlong, cfg.correction, cfg.objective)))
    assert isinstance(error.value.__cause__, ValueError)
    assert named in str(error.value.__cause__)


def test_importing_config_does_not_import_torch() -> None:
    code = "import sys, gmpo.config; assert not {'torch', 'transformers', 'lightning'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_divisors() -> None:
    assert [divisors(n) for n in (1, 7, 12)] == [[1], [1, 7], [1, 2, 3, 4, 6, 12]]


def test_mini_batch_that_does_not_divide() -> None:
    text = refusal("batch.prompts=30", "batch.mini_batch_prompts=8")
    assert "batch.mini_batch_prompts=8 does not divide batch.prompts=30: 30 = 3 x 8 + 6" in text
    assert text.endswith("Choose one of 1, 2, 3, 5, 6, 10, 15, 30")


def test_mini_batch_larger_than_the_batch() -> None:
    assert "4 = 0 x 8 + 4. Choose one of 1, 2, 4" in refusal("batch.prompts=4", "batch.mini_batch_prompts=8")


@pytest.mark.parametrize("advantage", ["group_norm", "leave_one_out"])
def test_group_of_one(advantage: str) -> None:
    text = refusal("batch.group_size=1", f"advantage={advantage}")
    assert "batch.group_size=1 with the group-relative advantage" in text
    assert "Set batch.group_size to 2 or more" in text
    check(composed("batch.group_size=2", f"advantage={advantage}"))


@pytest.mark.parametrize("value", ["0", "-8", "1.5", "null", "many"])
@pytest.mark.parametrize(
    "key",
    [
        "run.steps",
        "batch.prompts",
        "batch.group_size",
        "batch.mini_batch_prompts",
        "batch.max_tokens_per_micro_batch",
    ],
)
def test_sizes_are_whole_and_positive(key: str, value: str) -> None:
    shown = "None" if value == "null" else value
    assert refusal(f"{key}={value}") == f"{key}={shown} must be a whole number of at least 1"


@pytest.mark.parametrize("value", ["0", "-1", "0.5"])
def test_validation_interval_is_whole_and_positive(value: str) -> None:
    assert f"run.validate_every={value}" in refusal(f"run.validate_every={value}")
    check(composed("run.validate_every=null"))


@pytest.mark.parametrize("value", ["0", "-5"])
@pytest.mark.parametrize("key", ["sampling.max_tokens", "validation.max_tokens", "validation.samples"])
def test_sampling_refuses_its_own_values(key: str, value: str) -> None:
    with pytest.raises(InstantiationException) as error:
        instantiate(composed(f"{key}={value}").callbacks.rollout)
    assert isinstance(error.value.__cause__, ValueError)
    assert f"at least 1, not {value}" in str(error.value.__cause__)


def test_lengths_over_the_token_budget() -> None:
    budget = "batch.max_tokens_per_micro_batch"
    lengths = ["data.max_prompt_tokens=30", "sampling.max_tokens=70"]
    text = refusal(*lengths, f"{budget}=99")
    assert "data.max_prompt_tokens=30 + sampling.max_tokens=70 = 100 tokens do not fit" in text
    assert f"{budget}=99: raise it to at least 100" in text
    check(composed(*lengths, f"{budget}=100"))


@pytest.mark.parametrize("value", ["many", "null"])
@pytest.mark.parametrize("key", ["sampling.max_tokens", "data.max_prompt_tokens"])
def test_lengths_are_numbers(key: str, value: str) -> None:
    assert f"{key}={'None' if value == 'null' else value}" in refusal(f"{key}={value}")


@pytest.mark.parametrize("key", ["optimizer.lr", "run.steps", "batch.prompts", "sampling.max_tokens"])
def test_missing_value(key: str) -> None:
    assert refusal(f"{key}=???").startswith(f"no value for {key}: set each by key=value")


def test_missing_model_path() -> None:
    assert refusal("model=local").startswith("no value for model.path: set each by key=value")


def test_package_that_is_not_installed() -> None:
    text = refusal("rollout.package=no_such_engine")
    assert "the package no_such_engine, which is not installed" in text
    assert "make setup" in text
    assert "rollout=transformers" in text


def test_model_folder_missing(tmp_path: Path) -> None:
    text = refusal("model=local", f"model.path={tmp_path}/nowhere")
    assert f"model.path={tmp_path}/nowhere does not exist; give a folder or an id on the hub" in text


def test_model_folder_without_config(tmp_path: Path) -> None:
    text = refusal("model=local", f"model.path={tmp_path}")
    assert f"model.path={tmp_path} holds no config.json" in text
    assert "Hugging Face format" in text


def test_model_folder_without_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    text = refusal("model=local", f"model.path={tmp_path}")
    assert f"model.path={tmp_path} holds no tokenizer" in text
    assert "tokenizer.save_pretrained(FOLDER)" in text


@pytest.mark.parametrize("tokenizer", ["tokenizer.json", "tokenizer.model", "vocab.json"])
def test_whole_model_folder_passes(tmp_path: Path, tokenizer: str) -> None:
    for name in ("config.json", tokenizer):
        (tmp_path / name).write_text("{}")
    assert "has no weights" in refusal("model=local", f"model.path={tmp_path}")
    save_file({"weight": np.zeros(1)}, tmp_path / "model.safetensors")
    check(composed("model=local", f"model.path={tmp_path}"))


def test_id_on_the_hub_passes() -> None:
    check(composed("model=local", "model.path=some/model"))


def test_training_cannot_be_greedy() -> None:
    said = refusal("sampling.temperature=0")
    assert "sampling.temperature=0" in said
    assert "validation.temperature" in said


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("trainer.max_epochs=2", "set run.steps"),
        ("+trainer.max_steps=7", "set run.steps"),
        ("+trainer.min_epochs=3", "set run.steps"),
        ("+trainer.limit_train_batches=3", "set run.steps"),
        ("+trainer.fast_dev_run=true", "set run.steps"),
        ("+trainer.overfit_batches=1", "set run.steps"),
        ("trainer.log_every_n_steps=10", "a row for each rollout step"),
        ("trainer.limit_val_batches=0.1", "set data.validation_limit"),
        ("trainer.num_sanity_val_steps=2", "before the first step"),
        ("trainer.val_check_interval=3", "set run.validate_every"),
        ("+trainer.precision=16-mixed", "set cluster.dtype"),
        ("+trainer.gradient_clip_val=0.5", "set policy.gradient_clip"),
        ("+trainer.accumulate_grad_batches=4", "set batch.max_tokens_per_micro_batch"),
        ("trainer.enable_checkpointing=true", "set the keys of checkpoint"),
        ("trainer.devices=4", "by the keys of cluster"),
        ("trainer.strategy.cp=2", "by the keys of cluster"),
        ("trainer.use_distributed_sampler=true", "its effect on a resumed run is unknown"),
        ("+trainer.barebones=true", "its effect on a resumed run is unknown"),
        ("+trainer.logger=false", "logger=NAME"),
    ],
)
def test_options_of_lightning_that_break_the_promise_are_refused(override: str, remedy: str) -> None:
    said = refusal(override)
    name = override.lstrip("+").partition("=")[0]
    assert said.startswith(".".join(name.split(".")[:2]))
    assert "cannot be changed" in said
    assert remedy in said


def test_options_of_lightning_that_change_no_step_pass() -> None:
    check(composed("+trainer.max_time={hours: 2}", "+trainer.detect_anomaly=true", "trainer.enable_progress_bar=true"))
