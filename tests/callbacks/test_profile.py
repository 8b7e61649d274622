"""Which steps are recorded, through the real Trainer."""

import json
from operator import itemgetter
from pathlib import Path
from threading import Thread

import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from small_training import groups, module, quiet_trainer
from torch.utils.data import DataLoader

from gmpo.callbacks import ProfileCallback
from gmpo.metrics.clock import StepClock
from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch


class Batches(LightningDataModule):
    def __init__(self, made: int, steps: int) -> None:
        super().__init__()
        self.made, self.steps = made, steps

    def train_dataloader(self) -> DataLoader[PromptBatch]:
        return DataLoader([PromptBatch([], groups(2, 2))] * (self.steps - self.made), batch_size=None)


class Counts(Callback):
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        pl_module.state.rollout_step += 1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        beside = Thread(target=generate, args=(pl_module.state.clock,))
        beside.start()
        beside.join()


def generate(clock: StepClock) -> None:
    with clock("generate"):
        torch.ones(3).tanh()


def recorded(model: str, folder: Path, made: int, steps: int, enabled: bool = True) -> list[str]:
    """What a process writes that makes the steps after `made`."""
    policy = module(model)
    policy.state.rollout_step = made
    profile = ProfileCallback(enabled, str(folder / "profile"), max_tokens=20, subprocess=False)
    quiet_trainer(profile, Counts()).fit(policy, datamodule=Batches(made, steps))
    return sorted(path.stem for path in folder.glob("profile/*.json"))


@pytest.mark.parametrize(
    ("made", "steps", "range_"), [(0, 6, "2-4"), (0, 3, "2-3"), (0, 1, "1-1"), (7, 9, "9-9"), (7, 20, "9-11")]
)
def test_three_steps_after_the_first_are_recorded(
    qwen2_folder: str, tmp_path: Path, made: int, steps: int, range_: str
) -> None:
    assert recorded(qwen2_folder, tmp_path, made, steps) == [f"steps-{range_}-rank-0"]


def test_nothing_is_unless_it_is_asked_for(qwen2_folder: str, tmp_path: Path) -> None:
    assert recorded(qwen2_folder, tmp_path, 0, 4, enabled=False) == []
    assert list(tmp_path.iterdir()) == []


def test_what_goes_on_in_another_thread_is_there_too(qwen2_folder: str, tmp_path: Path) -> None:
    recorded(qwen2_folder, tmp_path, 0, 3)
    events = json.loads((tmp_path / "profile" / "steps-2-3-rank-0.json").read_text())["traceEvents"]
    steps, generations, tanh = (
        sorted((event for event in events if event["name"] == name), key=itemgetter("ts"))
        for name in ("rollout step", "generate", "aten::tanh")
    )
    assert len(steps) == len(generations) == len(tanh) == 2
    for step, generation, operation in zip(steps, generations, tanh, strict=True):
        assert operation["tid"] == generation["tid"] != step["tid"]
        assert step["ts"] < generation["ts"] < operation["ts"] < step["ts"] + step["dur"]
