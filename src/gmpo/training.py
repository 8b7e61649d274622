"""From a composed config to a running trainer."""

from contextlib import ExitStack
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from lightning import LightningDataModule, Trainer
from omegaconf import DictConfig

from gmpo import run_folder
from gmpo.data.tokenizer import load_tokenizer
from gmpo.policy import PolicyModule
from gmpo.screen import quieten


@dataclass(frozen=True)
class Training:
    """Everything that a run is made of."""

    trainer: Trainer
    policy: PolicyModule
    datamodule: LightningDataModule

    def run(self) -> str | None:
        """Train; returns the reason if it ended before its last step."""
        self.trainer.fit(self.policy, datamodule=self.datamodule)
        return self.policy.ends_because


def prepare(cfg: DictConfig) -> Training:
    """Instantiate a config; whatever a user can get wrong fails here, before an engine starts."""
    quieten()
    torch.set_num_threads(cfg.cluster.threads)
    folder = run_folder.create(cfg.run.root, cfg.run.name)
    cfg.run.folder = str(folder)
    with ExitStack() as at_the_end:
        at_the_end.callback(run_folder.remove_if_empty, folder)
        if cfg.model.path is None:
            cfg.model.path = instantiate(cfg.model.make)
        training = build(cfg)
        training.datamodule.setup()
        run_folder.save_config(cfg, folder)
    return training


def build(cfg: DictConfig) -> Training:
    """The objects that a config names."""
    tokenizer = load_tokenizer(cfg.model.path)
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    datamodule = instantiate(cfg.datamodule, tokenizer=tokenizer)
    policy = instantiate(cfg.policy, pad_token_id=pad_token_id)
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    return Training(trainer, policy, datamodule)
