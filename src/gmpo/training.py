"""From a composed config to a running trainer."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig

from gmpo import run_folder
from gmpo.config import layout_of
from gmpo.data.tokenizer import load_tokenizer
from gmpo.failures import RunError
from gmpo.launch import FIRST, Launch, end_with_parent
from gmpo.model_files import check_reachable
from gmpo.parallel import gather, join, leave
from gmpo.policy import PolicyModule
from gmpo.resume import Start, begin, choose_start
from gmpo.screen import quieten
from gmpo.signals import Interrupted

log = logging.getLogger(__name__)

START, MODEL = "GMPO_START", "GMPO_MODEL"  # tell the processes that Lightning starts what the first one made

PLACES = ("folder", "save_dir", "dirpath", "file")  # what callbacks and loggers call where they write


@dataclass(frozen=True)
class Training:
    """Everything that a run is made of."""

    start: Start
    trainer: Trainer
    policy: PolicyModule
    datamodule: LightningDataModule

    def run(self) -> str | None:
        """Train; returns the reason if it ended before its last step.

        Raises Interrupted where a signal asked for it, with everything saved.
        """
        try:
            self.trainer.fit(self.policy, datamodule=self.datamodule, ckpt_path=self.start.checkpoint)
            if self.policy.ends_because is None and self.trainer.is_global_zero:
                self._finish()
        except Interrupted:
            # srun sends it to the other ranks when one has ended: they are to end with this code as well
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            leave()
            raise
        except RunError as error:  # on all ranks
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            self.policy.ends_because = str(error)
        leave()
        return self.policy.ends_because

    def _finish(self) -> None:
        try:
            run_folder.mark_finished(Path(self.start.folder), self.policy.rollout_step)
        except OSError as error:
            self.policy.ends_because = (
                f"everything is done, but {self.start.folder} cannot be written ({error.strerror})"
            )


def prepare(cfg: DictConfig, started: Launch = FIRST) -> Training:
    """Instantiate a config; whatever a user can get wrong fails here, before an engine starts.

    started: this process among those of the run. The first one makes the run's folder, and the model where it is made.
    """
    quieten(started.rank)
    check_machine(cfg)
    if cfg.model.path is not None:
        check_reachable(cfg.model.path, trained=True)
    torch.set_num_threads(cfg.cluster.threads)
    seed_everything((cfg.run.seed + started.rank) % 2**32, verbose=False)  # for rewards and callbacks of a user's own
    if started.is_external or started.rank > 0:
        end_with_parent()
    if started.is_external:
        join_others(cfg, started)
    with ExitStack() as at_the_end:
        start = Start.from_json(on_first_rank(started, START, lambda: choose_start(cfg).to_json()))
        folder = Path(start.folder)
        cfg.run.folder = start.folder
        if start.checkpoint is not None:
            cfg.run.first_step = start.step + 1
        if started.rank == 0:
            at_the_end.callback(run_folder.leave, folder)
        check_places(cfg)
        if cfg.model.path is None:
            cfg.model.path = on_first_rank(started, MODEL, lambda: instantiate(cfg.model.make))
        training = build(cfg, start, started)
        training.datamodule.setup()
        at_the_end.pop_all()  # the folder stays this process's
        if started.rank == 0:
            run_folder.save_config(cfg, folder)
            begin(start)
            if (layout := layout_of(cfg)).world_size > 1:
                log.info("%s", layout)
    return training


def check_machine(cfg: DictConfig) -> None:
    """Raise ValueError where this machine has fewer GPUs than the cluster asks each of its nodes for."""
    wanted, found = cfg.cluster.devices, torch.cuda.device_count()
    if cfg.cluster.accelerator == "gpu" and found < wanted:
        raise ValueError(
            f"cluster.devices={wanted} GPUs, and this process sees {found}: every process must see all GPUs of its "
            "machine. Choose a smaller cluster, or cluster=cpu (`python plan.py` needs no GPU)"
        )


def check_places(cfg: DictConfig) -> None:
    """Raise ValueError where a callback or logger would write outside the run's folder."""
    folder = Path(cfg.run.folder).resolve()
    for group in ("callbacks", "logger"):
        for name, node in cfg[group].items():
            keys = [key for key in PLACES if node.get(key) is not None]
            places = {key: Path(str(node[key])) for key in keys}
            if "save_dir" in places:  # Lightning's loggers write to save_dir/name/version
                below = [str(node[key]) for key in ("name", "version") if node.get(key) is not None]
                places["save_dir"] = places["save_dir"].joinpath(*below)
            for key, place in places.items():
                if place.resolve() != folder and folder not in place.resolve().parents:
                    raise ValueError(
                        f"{group}.{name}.{key} leads to {place}, outside the run's folder {folder}: choose a place in "
                        "it, such as ${run.folder}/NAME"
                    )


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


def build(cfg: DictConfig, start: Start, started: Launch) -> Training:
    """The objects that a config names."""
    tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
    pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    datamodule = instantiate(cfg.datamodule, tokenizer=tokenizer)
    policy = instantiate(cfg.policy, pad_token_id=pad_token_id)
    policy.source.check(cfg.cluster.cp)
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    # Lightning would answer SIGUSR1 by a checkpoint and a requeue of its own until the callback takes its place
    cluster = SLURMEnvironment(auto_requeue=False) if started.by == "Slurm" else None
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers, plugins=cluster)
    return Training(start, trainer, policy, datamodule)
