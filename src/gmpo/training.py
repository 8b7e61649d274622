"""From a composed config to a running trainer."""

import logging
import sys
import warnings
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from lightning import LightningDataModule, Trainer
from omegaconf import DictConfig
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from gmpo import run_folder
from gmpo.policy import PolicyModule

NOISE = (  # warnings that ask for nothing a user could do
    ".*does not have many workers.*",
    ".*`IterableDataset` has `__len__` defined.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*torch.distributed.reduce_op.*",
    ".*in eval mode at the start of training.*",  # the reference
)


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


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The model's tokenizer; raises ValueError where neither a folder nor the hub has one."""
    try:
        return AutoTokenizer.from_pretrained(path)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"model.path={path} has no tokenizer that can be loaded ({reason}): give a folder in the Hugging Face "
            "format, or the id of a model that the hub has and this machine can reach"
        ) from error


class _Screen(logging.Handler):
    """Prints to what standard error is at the time: a live progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def quieten() -> None:
    """Leave the screen to what concerns the user."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[_Screen()])
    logging.getLogger("gmpo").setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
