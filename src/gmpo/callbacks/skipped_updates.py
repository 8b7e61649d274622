"""Records of skipped optimizer steps."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

from lightning import Trainer
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.parallel.collectives import rank
from gmpo.policy.module import PolicyModule
from gmpo.policy.update import Skipped
from gmpo.types import MiniBatch

log = logging.getLogger(__name__)


class SkippedUpdates(OrderedCallback):
    """Writes the mini-batch of each skipped optimizer step to FOLDER/step-N-update-K-rank-R.safetensors.

    Tensors are named MICRO_BATCH.COLUMN as in `MicroBatch`; the file's metadata hold loss, gradient norm and step.
    most: files per rank; further skips are only logged.
    """

    order = 70

    def __init__(self, folder: str, most: int = 20) -> None:
        self.folder = Path(folder)
        self.most = most
        self._update = 0  # number of skips in this process

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """Subscribe to skipped optimizer steps."""
        pl_module.on_skip.append(self._write)

    def _write(self, mini_batch: MiniBatch, skipped: Skipped) -> None:
        self._update += 1
        log.error(
            "step %d: an optimizer step is skipped, loss %s, gradient norm %s",
            skipped.rollout_step,
            skipped.loss,
            skipped.gradient_norm,
        )
        if self._update > self.most:
            return
        name = f"step-{skipped.rollout_step}-update-{self._update}-rank-{rank()}.safetensors"
        metadata = {"skipped": json.dumps(asdict(skipped))}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(save(_tensors(mini_batch), metadata))  # save_file's is the owner's alone
        except (OSError, SafetensorError) as error:
            log.error("%s could not be written (%s)", self.folder / name, error)


def _tensors(mini_batch: MiniBatch) -> dict[str, Tensor]:
    return {
        f"{number}.{name}": tensor.contiguous()
        for number, batch in enumerate(mini_batch.micro_batches)
        for name, tensor in batch.tensors().items()
    }
