"""Optimizer and schedule: tried before anything is loaded, and advanced to the step of a resumed run."""

import logging
import math
import warnings
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gmpo.run.errors import RunError

log = logging.getLogger(__name__)

MOST_TRIED = 20_000  # optimizer steps

BuildOptimizer = Callable[[Iterable[Tensor]], Optimizer]
BuildSchedule = Callable[[Optimizer], LRScheduler]


def class_name(optimizer: Optimizer) -> str:
    """Return the dotted name of the optimizer's class."""
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient; the optimizer gets no others."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def advance(schedule: LRScheduler, steps: int) -> None:
    """Step a schedule `steps` times, without optimizer steps.

    The optimizer's settings result from the same additions and products as in an uninterrupted run.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch expects an optimizer step before each
        for _ in range(steps):
            schedule.step()


def check_optimizer(before: str | None, optimizer: Optimizer) -> None:
    """Raise RunError if a checkpoint's optimizer was of another class. before: None in older checkpoints."""
    now = class_name(optimizer)
    if before not in (None, now):
        raise RunError(
            f"the checkpoint's optimizer was {before}, this run's is {now}, which cannot take over its state: "
            "resume with the same class of optimizer, or start anew with resume=never"
        )


def resume_schedule(schedule: LRScheduler, step: int) -> None:
    """Advance a new schedule to an optimizer step; raise RunError if it does not reach that far."""
    try:
        advance(schedule, step)
    except Exception as error:
        raise RunError(
            f"the schedule cannot be advanced to optimizer step {step}, that of the checkpoint ({error}): fix its "
            "settings, schedule.KEY=VALUE"
        ) from error


def try_out(build_optimizer: BuildOptimizer, build_schedule: BuildSchedule, steps: int) -> None:
    """Build both on two small parameters, make one optimizer step, then step the schedule through the whole run.

    steps: optimizer steps of the run, of which at most 20,000 are tried. Raises ValueError, naming the config group,
    for any error of either, and for a learning rate that is negative or not finite.
    """
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,))]
    group = "optimizer"
    try:
        optimizer = build_optimizer(parameters)
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"it builds a {type(optimizer).__name__}, which is no torch.optim.Optimizer")
        group = "schedule"
        schedule = build_schedule(optimizer)
        if not isinstance(schedule, LRScheduler):
            raise TypeError(f"it builds a {type(schedule).__name__}, which is no torch.optim.lr_scheduler.LRScheduler")
        largest = _largest_rate(optimizer, 0)
        group = "optimizer"
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        if any(parameter.mean() > 1 for parameter in parameters):
            raise ValueError("its step goes up the gradient, away from what is learned")
        group = "schedule"
        for step in range(1, min(steps, MOST_TRIED) + 1):
            advance(schedule, 1)
            largest = max(largest, _largest_rate(optimizer, step))
    except Exception as error:  # a user's settings, perhaps in a user's classes
        raise ValueError(
            f"{group}={_described(build_optimizer if group == 'optimizer' else build_schedule)} cannot be used "
            f"({error}): fix its settings, {group}.KEY=VALUE"
        ) from error
    if largest <= 0:
        log.warning("every learning rate is 0 (optimizer.lr, schedule): nothing is learned")


def _largest_rate(optimizer: Optimizer, step: int) -> float:
    """Return the largest learning rate of the next optimizer step; raise ValueError if one is invalid."""
    largest = 0.0
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        rounding = 1e-9 * abs(float(group.get("initial_lr", 0)))  # annealing may end a little below 0
        if not (math.isfinite(rate) and rate >= -rounding):
            raise ValueError(f"the learning rate of optimizer step {step + 1} is {rate}")
        largest = max(largest, rate)
    return largest


def _described(build: object) -> str:
    """Return the name of what a partial calls, with its settings."""
    if not isinstance(build, partial):
        return repr(build)
    given = ", ".join(f"{key}={value}" for key, value in build.keywords.items())
    return f"{build.func.__name__}({given})"  # a class, or a function
