"""Two ranks train FOLDER for a step and save under OUTPUT: `python two_ranks.py FOLDER OUTPUT`."""

import sys
from pathlib import Path

from lightning import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from small_training import groups, module
from torch.utils.data import DataLoader

from gmpo.policy.hugging_face import save_hugging_face
from gmpo.types import PromptBatch


def main(folder: str, output: Path) -> None:
    policy = module(folder)
    policy.dtype_name = "float32"
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    trainer = Trainer(accelerator="cpu", devices=2, strategy=strategy, max_epochs=1, **quiet)  # type: ignore[arg-type]
    batches = [PromptBatch([], groups()) for _ in range(2)]  # one for each rank
    trainer.fit(policy, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    trainer.save_checkpoint(output / "checkpoint")
    save_hugging_face(policy, output / "model")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
