"""From a composed config to a running trainer."""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import LightningDataModule, Trainer
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig

from gmpo import run_folder
from gmpo.config import layout_of
from gmpo.data.tokenizer import load_tokenizer
from gmpo.launch import FIRST, Launch, end_with_parent
from gmpo.parallel import gather, join, leave
from gmpo.policy import PolicyModule
from gmpo.screen import quieten

log = logging.getLogger(__name__)

FOLDER, MODEL = "GMPO_RUN_FOLDER", "GMPO_MODEL"  # tell the processes that Lightning starts what the first one made


@dataclass(frozen=True)
class Training:
    """Everything that a run is made of."""

    trainer: Trainer
    policy: PolicyModule
    datamodule: LightningDataModule

    def run(self) -> str | None:
        """Train; returns the reason if it ended before its last step."""
        self.trainer.fit(self.policy, datamodule=self.datamodule)
        leave()
        return self.policy.ends_because


def prepare(cfg: DictConfig, started: Launch = FIRST) -> Training:
    """Instantiate a config; whatever a user can get wrong fails here, before an engine starts.

    started: this process among those of the run. The first one makes the run's folder, and the model where it is made.
    """
    quieten(started.rank)
    torch.set_num_threads(cfg.cluster.threads)
    if started.is_external or started.rank > 0:
        end_with_parent()
    if started.is_external:
        join_others(cfg, started)
    with ExitStack() as at_the_end:
        cfg.run.folder = on_first_rank(started, FOLDER, lambda: str(run_folder.create(cfg.run.root, cfg.run.name)))
        folder = Path(cfg.run.folder)
        if started.rank == 0:
            at_the_end.callback(run_folder.remove_if_empty, folder)
        if cfg.model.path is None:
            cfg.model.path = on_first_rank(started, MODEL, lambda: instantiate(cfg.model.make))
        training = build(cfg)
        training.datamodule.setup()
        if started.rank == 0:
            run_folder.save_config(cfg, folder)
            if (layout := layout_of(cfg)).world_size > 1:
                log.info("%s", layout)
    return training


def join_others(cfg: DictConfig, started: Launch) -> None:
    """Meet the ranks that a launcher started together with this one."""
    assert started.world_size is not None
    gpu = None if cfg.cluster.accelerator == "cpu" else started.local_rank
    if gpu is not None:
        torch.cuda.set_device(gpu)
    os.environ["LOCAL_RANK"] = str(started.local_rank)  # Slurm has another name for it, vLLM reads this one
    address = None
    if started.by == "Slurm":
        try:
            slurm = SLURMEnvironment()
        except RuntimeError as error:  # a number of tasks without one for each node
            raise ValueError(str(error)) from error
        address = f"{slurm.main_address}:{slurm.main_port}"
    join(started.rank, started.world_size, address, cfg.cluster.timeout, gpu)


def on_first_rank(started: Launch, name: str, make: Callable[[], str]) -> str:
    """What `make` returns on rank 0, on every rank; its error likewise, as a ValueError.

    name: of the environment variable that tells processes which do not exist yet.
    """
    if not started.is_external:
        if started.rank == 0:
            os.environ[name] = make()
        return os.environ[name]
    outcome = ("", "")
    if started.rank == 0:
        try:
            outcome = (make(), "")
        except (ValueError, InstantiationException) as error:
            outcome = ("", str(error.__cause__ or error))
    made, refusal = gather(outcome)[0]
    if refusal:
        raise ValueError(refusal)
    return made


def build(cfg: DictConfig) -> Training:
    """The objects that a config names."""
    tokenizer = load_tokenizer(cfg.model.path)
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    datamodule = instantiate(cfg.datamodule, tokenizer=tokenizer)
    policy = instantiate(cfg.policy, pad_token_id=pad_token_id)
    policy.source.check(cfg.cluster.cp)
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    return Training(trainer, policy, datamodule)
