"""What a resumed run gives its optimizer and schedule, and what is refused before anything is loaded."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import fit, module, quiet_trainer
from torch import Tensor
from torch.optim import SGD, AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR

from gmpo.policy.module import PolicyModule
from gmpo.policy.optimization import try_out
from gmpo.run.errors import RunError
from gmpo.types import PromptBatch

ADAMW = functools.partial(AdamW, lr=1e-3)
WARM_UP = functools.partial(LinearLR, start_factor=0.5, total_iters=8)
STEPS = 3  # optimizer steps of the first run


@pytest.fixture(scope="module")
def checkpoint(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after three optimizer steps."""
    policy = module(qwen2_folder)
    policy.build_optimizer, policy.build_schedule = ADAMW, WARM_UP
    folder = tmp_path_factory.mktemp("resumed") / "checkpoint"
    fit(policy, steps=STEPS).trainer.save_checkpoint(folder)
    return folder


def resumed(folder: str, checkpoint: Path, optimizer: Any = ADAMW, schedule: Any = WARM_UP) -> PolicyModule:
    """The policy as it stands when a run has been restored, before a further step."""
    policy = module(folder)
    policy.build_optimizer, policy.build_schedule = optimizer, schedule
    batches = torch.utils.data.DataLoader([PromptBatch([], [])], batch_size=None)  # type: ignore[arg-type]
    quiet_trainer().fit(policy, batches, ckpt_path=checkpoint, weights_only=True)
    return policy


def group_of(policy: PolicyModule) -> dict[str, Any]:
    (group,) = policy.trainer.optimizers[0].param_groups
    return group


def moments(optimizer: Optimizer) -> list[Tensor]:
    return [state[name] for state in optimizer.state.values() for name in ("step", "exp_avg", "exp_avg_sq")]


def rate_after(steps: int, optimizer: Any, schedule: Any) -> float:
    """The learning rate of an uninterrupted run."""
    fresh = optimizer([torch.nn.Parameter(torch.zeros(1))])
    rates = schedule(fresh)
    for _ in range(steps):
        fresh.step()
        rates.step()
    return fresh.param_groups[0]["lr"]


def test_unchanged_settings_restore_rate_and_moments(qwen2_folder: str, checkpoint: Path) -> None:
    policy = resumed(qwen2_folder, checkpoint)
    assert group_of(policy)["lr"] == rate_after(STEPS, ADAMW, WARM_UP)
    assert policy.lr_schedulers().last_epoch == policy.state.policy_version == STEPS
    assert all(tensor.abs().sum() > 0 for tensor in moments(policy.trainer.optimizers[0]))
    assert {float(state["step"]) for state in policy.trainer.optimizers[0].state.values()} == {STEPS}


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        (functools.partial(AdamW, lr=5e-2), WARM_UP),
        (functools.partial(AdamW, lr=1e-3, betas=(0.5, 0.7), weight_decay=0.3, eps=1e-3), WARM_UP),
        (ADAMW, functools.partial(LinearLR, start_factor=0.1, total_iters=20)),
        (ADAMW, functools.partial(CosineAnnealingLR, T_max=11)),
        (ADAMW, functools.partial(StepLR, step_size=2, gamma=0.1)),
        (functools.partial(AdamW, lr=1e-3, maximize=True, foreach=False), WARM_UP),
    ],
    ids=["lr", "betas", "warm-up", "cosine", "steps", "flags"],
)
def test_new_settings_hold_and_moments_are_kept(
    qwen2_folder: str, checkpoint: Path, optimizer: Any, schedule: Any
) -> None:
    same, other = resumed(qwen2_folder, checkpoint), resumed(qwen2_folder, checkpoint, optimizer, schedule)
    group = group_of(other)
    assert group["lr"] == rate_after(STEPS, optimizer, schedule)
    assert {key: group[key] for key in optimizer.keywords if key != "lr"} == {
        key: value for key, value in optimizer.keywords.items() if key != "lr"
    }
    kept = zip(moments(same.trainer.optimizers[0]), moments(other.trainer.optimizers[0]), strict=True)
    assert all(torch.equal(before, after) for before, after in kept)


def test_a_decay_that_had_ended_begins_again_with_a_longer_one(qwen2_folder: str, tmp_path: Path) -> None:
    ended = functools.partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=2)
    longer = functools.partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=10)
    policy = module(qwen2_folder)
    policy.build_schedule = ended
    fit(policy, steps=STEPS).trainer.save_checkpoint(tmp_path / "checkpoint")
    assert group_of(policy)["lr"] == 0
    assert group_of(resumed(qwen2_folder, tmp_path / "checkpoint", ADAMW, longer))["lr"] == pytest.approx(7e-4)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (functools.partial(SGD, lr=1e-3), "was torch.optim.adamw.AdamW, this run's is torch.optim.sgd.SGD"),
        (functools.partial(AdamW, lr=1e-3, amsgrad=True), "max_exp_avg_sq, which the optimizer of this run keeps"),
    ],
)
def test_state_that_cannot_be_taken_over_is_refused(
    qwen2_folder: str, checkpoint: Path, optimizer: Any, message: str
) -> None:
    with pytest.raises(RunError, match=message):
        resumed(qwen2_folder, checkpoint, optimizer)


def test_a_schedule_that_ends_before_the_checkpoint_is_refused(qwen2_folder: str, checkpoint: Path) -> None:
    short = functools.partial(OneCycleLR, max_lr=1.0, total_steps=2)
    with pytest.raises(RunError, match="the schedule cannot be advanced to optimizer step 3"):
        resumed(qwen2_folder, checkpoint, ADAMW, short)


def test_a_schedule_that_ends_before_the_run_ends_it_with_a_sentence(qwen2_folder: str) -> None:
    policy = module(qwen2_folder)
    policy.build_schedule = functools.partial(OneCycleLR, max_lr=1e-3, total_steps=2)
    fit(policy, steps=4)
    assert policy.state.stop_reason is not None
    assert "the schedule has no step after optimizer step 3" in policy.state.stop_reason


@pytest.mark.parametrize(
    ("optimizer", "schedule", "message"),
    [
        ({"lr": -1}, {}, r"optimizer=AdamW\(lr=-1\) cannot be used \(Invalid learning rate: -1\): fix its settings"),
        ({"lr": "banana"}, {}, "optimizer=AdamW"),
        ({"lr": None}, {}, "optimizer=AdamW"),
        ({"betas": [0.9]}, {}, "optimizer=AdamW"),
        ({"betas": [0.9, 1.0]}, {}, "Invalid beta parameter at index 1"),
        ({"weight_decay": -0.1}, {}, "Invalid weight_decay"),
        ({"warmup": 3}, {}, "unexpected keyword argument 'warmup'"),
        ({"kind": torch.optim.LBFGS}, {}, "closure"),
        ({"kind": torch.optim.SparseAdam}, {}, "does not support dense gradients"),
        ({"kind": Muon}, {}, "only supports 2D parameters"),
        ({"kind": dict}, {}, "it builds a dict, which is no torch.optim.Optimizer"),
        ({"maximize": True}, {}, "its step goes up the gradient"),
        ({}, {"total_iters": "x"}, "schedule=LinearLR"),
        ({}, {"start_factor": 0}, "Starting multiplicative factor"),
        ({}, {"kind": ReduceLROnPlateau}, "schedule=ReduceLROnPlateau"),
        ({}, {"kind": CosineAnnealingLR, "T_max": 0}, "schedule=CosineAnnealingLR"),
        ({}, {"kind": OneCycleLR, "max_lr": 1.0, "total_steps": 20}, "Tried to step 21 times"),
        ({}, {"kind": torch.optim.lr_scheduler.ExponentialLR, "gamma": -1.0}, "learning rate of optimizer step 2 is -"),
    ],
)
def test_wrong_settings_are_one_sentence(optimizer: dict[str, Any], schedule: dict[str, Any], message: str) -> None:
    optimizer, schedule = {"kind": AdamW, **optimizer}, {"kind": LinearLR, **schedule}
    with pytest.raises(ValueError, match=message) as error:
        try_out(
            functools.partial(optimizer.pop("kind"), **optimizer),
            functools.partial(schedule.pop("kind"), **schedule),
            40,
        )
    assert "\n" not in str(error.value)


def test_usual_settings_pass() -> None:
    for schedule in usual_schedules():
        try_out(ADAMW, schedule, 40)
        try_out(functools.partial(SGD, lr=0.1, momentum=0.9), schedule, 100_000)


def test_rates_of_0_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    try_out(ADAMW, functools.partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=2), 5)
    assert not caplog.records
    try_out(functools.partial(AdamW, lr=0), WARM_UP, 5)
    assert "every learning rate is 0" in caplog.text


def usual_schedules() -> Iterator[Any]:
    yield WARM_UP
    yield functools.partial(CosineAnnealingLR, T_max=40)
    yield functools.partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=40)
    yield functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda step: 1 / (1 + step))
