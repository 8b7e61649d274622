"""From a composed config to a running trainer."""

import logging
import warnings
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from lightning import LightningDataModule, LightningModule, Trainer
from omegaconf import DictConfig
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from gmpo import run_folder

NOISE = (  # warnings that ask for nothing a user could do
    ".*does not have many workers.*",
    ".*`IterableDataset` has `__len__` defined.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*torch.distributed.reduce_op.*",
)


@dataclass(frozen=True)
class Training:
    """Everything that a run is made of."""

    trainer: Trainer
    policy: LightningModule
    datamodule: LightningDataModule

    def run(self) -> None:
        """Train."""
        self.trainer.fit(self.policy, datamodule=self.datamodule)


def prepare(cfg: DictConfig) -> Training:
    """Instantiate a config; whatever a user can get wrong fails here, before an engine starts."""
    quieten()
    torch.set_num_threads(cfg.cluster.threads)
    folder = run_folder.create(cfg.run.root, cfg.run.name)
    cfg.run.folder = str(folder)
    try:
        if cfg.model.path is None:
            cfg.model.path = instantiate(cfg.model.make)
        training = build(cfg)
        training.datamodule.setup()
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    run_folder.save_config(cfg, folder)
    return training


def build(cfg: DictConfig) -> Training:
    """The objects that a config names."""
    tokenizer = AutoTokenizer.from_pretrained(cfg.model.path)
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    datamodule = instantiate(cfg.datamodule, tokenizer=tokenizer)
    policy = instantiate(cfg.policy, pad_token_id=pad_token_id)
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    return Training(trainer, policy, datamodule)


def quieten() -> None:
    """Leave the screen to what concerns the user."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("gmpo").setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
