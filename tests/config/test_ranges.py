"""Every number of the config is finite and in its range."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from omegaconf import DictConfig, ListConfig, OmegaConf
from test_config import CHOICES, CONFIGS, composed, refusal

from gmpo.config import check
from gmpo.config.ranges import RANGES, Range, check_numbers

CHECKED_BY_CLASSES = (  # in a group whose class checks its own values, beyond that they are finite
    *("objective.*", "correction.*", "dynamic_sampling.*", "reward.*", "rollout.timeout", "rollout.async_steps"),
    *("rollout.engine.tensor_parallel", "cluster.cp", "cluster.dp_replicate", "data.levels.*", "*.seed"),
    *("model.shape.*", "model.overrides.*", "trainer.*", "count"),
)


def numbers(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[str]:
    for key in range(len(node)) if isinstance(node, ListConfig) else list(map(str, node)):
        if OmegaConf.is_interpolation(node, key) or OmegaConf.is_missing(node, key):
            continue
        value = node[key]
        if isinstance(value, DictConfig | ListConfig):
            yield from numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}"


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_number_of_the_shipped_configs_has_a_range(path: object) -> None:
    group = path.parent.name if path.parent.name not in ("configs", "experiment") else ""  # type: ignore[attr-defined]
    loaded = OmegaConf.load(path)  # type: ignore[arg-type]
    assert isinstance(loaded, DictConfig)
    loaded.pop("hydra", None)
    known = (*RANGES, *CHECKED_BY_CLASSES)
    found = [f"{group}.{name}" if group else name for name in numbers(loaded)]
    if group in ("launcher", "paths"):
        return
    assert [name for name in found if not any(fnmatchcase(name, pattern) for pattern in known)] == []


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.gradient_clip=-1", "policy.gradient_clip=-1 must be a number above 0, or null, which switches it off"),
        ("policy.gradient_clip=0", "policy.gradient_clip=0 must be a number above 0"),
        ("policy.gradient_clip=banana", "policy.gradient_clip=banana must be a number above 0"),
        ("policy.gradient_clip=true", "policy.gradient_clip=True must be a number above 0"),
        ("policy.gradient_clip=nan", "policy.gradient_clip=nan must be a finite number, or null"),
        ("policy.gradient_clip=inf", "policy.gradient_clip=inf must be a finite number, or null"),
        ("optimizer.lr=nan", "optimizer.lr=nan must be a finite number"),
        ("optimizer.lr=inf", "optimizer.lr=inf must be a finite number"),
        ("optimizer.lr=-1e-6", "optimizer.lr=-1e-06 must be a number of at least 0"),
        ("optimizer.lr=null", "optimizer.lr=None must be a number of at least 0"),
        ("optimizer.lr=true", "optimizer.lr=True must be a number"),
        ("optimizer.betas=[0.9,nan]", "optimizer.betas.1=nan must be a finite number"),
        ("optimizer.betas=[0.9,1.5]", "optimizer.betas.1=1.5 must be a number from 0 to 1"),
        ("+optimizer.eps=-1", "optimizer.eps=-1 must be a number of at least 0"),
        (
            "schedule.total_iters=0",
            "schedule.total_iters=0 must be a whole number of at least 1; schedule.start_factor",
        ),
        ("schedule.total_iters=2.5", "schedule.total_iters=2.5 must be a whole number"),
        ("schedule.start_factor=2", "schedule.start_factor=2 must be a number above 0 to 1"),
        ("entropy.coefficient=nan", "entropy.coefficient=nan must be a finite number"),
        ("kl.coefficient=-0.1", "kl.coefficient=-0.1 must be a number of at least 0; 0 switches it off"),
        ("sampling.temperature=inf", "sampling.temperature=inf must be a finite number"),
        ("sampling.temperature=warm", "sampling.temperature=warm must be a number"),
        ("validation.temperature=-1", "validation.temperature=-1 must be a number of at least 0"),
        ("sampling.top_p=most", "sampling.top_p=most must be a number above 0 to 1"),
        ("sampling.top_p=0", "sampling.top_p=0 must be"),
        ("sampling.top_k=1.5", "sampling.top_k=1.5 must be a whole number of at least 0"),
        ("sampling.top_k=-1", "sampling.top_k=-1 must be a whole number of at least 0"),
        ("guards.kl.high=banana", "guards.kl.high=banana must be a number, or null"),
        ("guards.entropy.low=nan", "guards.entropy.low=nan must be a finite number, or null"),
        ("rollout.engine.max_num_seqs=0", "rollout.engine.max_num_seqs=0 must be a whole number of at least 1"),
        ("rollout.engine.kv_cache_gib=0", "rollout.engine.kv_cache_gib=0 must be a whole number of at least 1"),
        (
            "rollout.engine.gpu_memory_utilization=60",
            "rollout.engine.gpu_memory_utilization=60 must be a number above 0 to 1",
        ),
        ("callbacks.rollout_table.groups=-2", "callbacks.rollout_table.groups=-2 must be a whole number of at least 0"),
        ("callbacks.rollout_table.groups=two", "callbacks.rollout_table.groups=two must be a whole number"),
        ("callbacks.evaluation.pass_k=[0]", "callbacks.evaluation.pass_k.0=0 must be a whole number of at least 1"),
        ("objective.clip_high=inf", "objective.clip_high=inf must be a finite number"),
        ("+reward.scale=nan", "reward.scale=nan must be a finite number"),
        ("checkpoint.minutes=inf", "checkpoint.minutes=inf must be a finite number, or null"),
        ("data.dataset.train_size=many", "data.dataset.train_size=many must be a whole number of at least 0"),
        (
            "policy.temperature=0.5",
            "policy.temperature=0.5 repeats sampling.temperature=1.0, which other parts read: set that alone",
        ),
        ("policy.temperature=hot", "policy.temperature=hot repeats sampling.temperature=1.0"),
    ],
)
def test_numbers_outside_their_range_are_refused_by_name(override: str, message: str) -> None:
    rollout = ["rollout=vllm", "rollout.package=torch"] if "rollout.engine" in override else []
    assert message in refusal(*rollout, override)


def test_what_is_off_or_at_its_bound_passes() -> None:
    off = ["policy.gradient_clip=null", "guards.kl.high=null", "run.validate_every=null", "checkpoint.minutes=null"]
    check(composed(*off, "sampling.top_p=1", "kl.coefficient=0", "entropy.coefficient=-0.01", "optimizer.lr=0"))


def test_numbers_within_lists_and_parts_of_a_user_are_finite_too() -> None:
    cfg = OmegaConf.create({"reward": {"parts": [{"weight": 1.0}, {"weight": float("inf")}]}})
    with pytest.raises(ValueError, match=r"reward\.parts\.1\.weight=inf must be a finite number"):
        check_numbers(cfg)


@pytest.mark.parametrize(
    ("allowed", "described"),
    [
        (Range(), "a number"),
        (Range(0, 1, above=True), "a number above 0 to 1"),
        (Range(0, whole=True, null=True), "a whole number of at least 0, or null"),
    ],
)
def test_ranges_describe_themselves(allowed: Range, described: str) -> None:
    assert str(allowed) == described


@pytest.mark.slow
def test_choices_are_within_their_ranges() -> None:
    for choice in CHOICES:
        if choice.split("/")[0] in ("objective", "correction", "optimizer", "guards", "cluster", "rollout"):
            check_numbers(composed(choice.replace("/", "=")))
