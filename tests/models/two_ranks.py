"""Two ranks train FOLDER for a step and save under OUTPUT: `python two_ranks.py FOLDER OUTPUT`."""

import os
import sys
from pathlib import Path

from lightning import Trainer
from small_training import groups, module
from torch.utils.data import DataLoader

from gmpo.callbacks.final_model import save_hugging_face
from gmpo.parallel.strategy import MeshStrategy, leave
from gmpo.run.launch import end_with_parent
from gmpo.types import PromptBatch


def main(folder: str, output: Path) -> None:
    if "LOCAL_RANK" in os.environ:  # Lightning started this one
        end_with_parent()
    policy = module(folder, dtype="float32")
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy=MeshStrategy(), use_distributed_sampler=False, max_epochs=1, **quiet
    )  # type: ignore[arg-type]
    batches = [PromptBatch([], groups())]  # each rank holds these
    trainer.fit(policy, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    trainer.save_checkpoint(output / "checkpoint")
    save_hugging_face(policy, output / "model")
    leave()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
