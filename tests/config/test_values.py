"""Every value of the config is of its kind, and in its range."""

from pathlib import Path

import pytest
from composing import composed
from omegaconf import OmegaConf
from test_config import refusal

from gmpo.config import check
from gmpo.config.schema import check_values
from gmpo.config.signatures import arguments
from gmpo.settings.kinds import Choice, Keys, Kind, ListOf, Number, Switch, Text, or_null


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
        ("optimizer.betas=[0.9,nan]", "optimizer.betas=[0.9, nan] must be a list, each entry a number from 0 to 1"),
        ("optimizer.betas=[0.9,1.5]", "optimizer.betas=[0.9, 1.5] must be a list, each entry"),
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
        (
            "callbacks.evaluation.pass_k=[0]",
            "callbacks.evaluation.pass_k=[0] must be a list such as [1,8], each entry a whole number",
        ),
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
    cfg = OmegaConf.create({"mine": {"parts": [{"weight": 1.0}, {"weight": float("inf")}]}})
    with pytest.raises(ValueError, match=r"mine\.parts\.1\.weight=inf must be a finite number"):
        check_values(cfg)


@pytest.mark.parametrize(
    ("kind", "described", "holds", "refuses"),
    [
        (Number(), "a number", [0, -1.5], ["1", True, None, float("nan")]),
        (Number(0, 1, above=True), "a number above 0 to 1", [1, 0.5], [0, 2]),
        (Number(1, whole=True), "a whole number of at least 1", [1], [0, 1.0, "one"]),
        (or_null(Number(0, whole=True)), "a whole number of at least 0, or null", [None, 0], [-1, "null"]),
        (Switch(), "true or false", [True, False], [1, "true", "maybe", None]),
        (Text(), "a text", ["", "a"], [1, None]),
        (Text(numbers=True), "a text", ["a", 7], [True, None]),
        (Choice(("a", "b")), "a or b", ["a"], ["c", None]),
        (Choice((0, 1)), "0 or 1", [0, 1], [True, 0.0]),
        (
            ListOf(Text(empty=False), "[a]"),
            "a list such as [a], each entry a text of at least",
            [[], ["b"]],
            ["b", [""]],
        ),
        (Keys(), "keys and values", [{}], ["a", None, []]),
    ],
)
def test_kinds_hold_what_they_say(kind: Kind, described: str, holds: list[object], refuses: list[object]) -> None:
    assert str(kind).startswith(described)
    assert all(map(kind.holds, holds))
    assert not any(map(kind.holds, refuses))


MINE = """
raise RuntimeError("imported")

class Mine:
    def __init__(self, share: float, floor: int | None = None, names: "list[str]" = (), own: object = None): ...
"""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+reward.share=banana", "reward.share=banana must be a number"),
        ("+reward.floor=1.5", "reward.floor=1.5 must be a whole number, or null"),
        ("reward.marker=3", None),  # the row is of the project's own class
        ("+reward.own=banana", None),
        ("+reward.share=0.5", None),
    ],
)
def test_a_class_of_a_user_says_what_its_keys_take(
    override: str, message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_users_module.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments.cache_clear()
    cfg = composed("reward._target_=a_users_module.Mine", override)
    if message is None:
        check_values(cfg)
        return
    with pytest.raises(ValueError, match=message):
        check_values(cfg)
