"""From a composed config to a running trainer."""

import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Callback, LightningDataModule, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig

from gmpo.callbacks.ordered import in_order
from gmpo.cli.console import configure_logging
from gmpo.config import layout_of, old_log_probs, vocabulary_size
from gmpo.models.files import check_reachable
from gmpo.models.tokenizer import load_tokenizer, padding_id
from gmpo.parallel.collectives import gather
from gmpo.parallel.strategy import join, leave
from gmpo.planning.duration import expected_duration
from gmpo.policy.module import PolicyModule
from gmpo.policy.optimization import try_out
from gmpo.run import folder as run_folder
from gmpo.run.errors import RunError
from gmpo.run.launch import FIRST, Launch, end_with_parent
from gmpo.run.log import RUN_LOG
from gmpo.run.resume import Start, begin, choose_start
from gmpo.run.signals import RESUME, Interrupted
from gmpo.run.state import RunState

log = logging.getLogger(__name__)

START, MODEL = "GMPO_START", "GMPO_MODEL"  # variables that pass rank 0's results to processes started by Lightning

ADDRESSES = ("tracking_uri", "artifact_location")  # of a server, or of a file
PLACES = ("folder", "save_dir", "dirpath", "file", *ADDRESSES)  # settings that say where they write


@dataclass(frozen=True)
class Training:
    """The parts of a run."""

    start: Start
    state: RunState
    trainer: Trainer
    policy: PolicyModule
    datamodule: LightningDataModule

    def run(self) -> str | None:
        """Train; return the reason if training ended before its last step.

        Raises Interrupted, with everything saved, if a signal asked for it.
        """
        try:
            self.trainer.fit(self.policy, datamodule=self.datamodule, ckpt_path=self.start.checkpoint)
            if self.state.stop_reason is None:
                if (step := self.state.rollout_step) < self.datamodule.steps:  # ended without a hook
                    log.warning(
                        "stopped by Lightning after step %d of %d: the same command resumes the run",
                        step,
                        self.datamodule.steps,
                    )
                    raise Interrupted(RESUME)
                if self.trainer.is_global_zero:
                    self._finish()
        except Interrupted:
            # srun sends it to the other ranks once one has ended: they must end with this code as well
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            leave()
            raise
        except RunError as error:  # on all ranks
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            self.state.stop(str(error))
        leave()
        return self.state.stop_reason

    def _finish(self) -> None:
        try:
            run_folder.mark_finished(Path(self.start.folder), self.state.rollout_step)
        except OSError as error:
            self.state.stop(f"everything is done, but {self.start.folder} cannot be written ({error.strerror})")


def prepare(cfg: DictConfig, started: Launch = FIRST) -> Training:
    """Instantiate a config; a user's mistakes fail here, before an engine starts.

    started: this process among those of the run. The first makes the run's folder, and the model if it is to be made.
    """
    configure_logging(started.rank)
    if started.rank > 0:
        RUN_LOG.close()  # rank 0 writes the run's log
    check_machine(cfg)
    cfg.policy.old_log_probs = old_log_probs(cfg)
    if cfg.model.path is not None:
        check_reachable(cfg.model.path, trained=True)
    torch.set_num_threads(cfg.cluster.threads)
    optimizer_steps = cfg.run.steps * (cfg.batch.prompts // cfg.batch.mini_batch_prompts)
    try_out(instantiate(cfg.optimizer), instantiate(cfg.schedule), optimizer_steps)
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
        at_the_end.pop_all()  # keep the folder locked
        if started.rank == 0:
            typed = typed_overrides()
            run_folder.save_config(cfg, folder, typed)
            RUN_LOG.open(folder, ["python", "train.py", *typed])
            begin(start)
            if HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN:
                log.info("job %d: %s in %s", HydraConfig.get().job.num + 1, " ".join(typed), folder)
            if (layout := layout_of(cfg)).world_size > 1:
                log.info("%s", layout)
            if said := expected_duration(cfg, cfg.run.steps - start.step):
                log.info("%s", said)
    return training


def typed_overrides() -> list[str]:
    """Return the overrides of the command line; in a sweep, those of this job."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def check_machine(cfg: DictConfig) -> None:
    """Raise ValueError if this machine has fewer GPUs than the cluster asks of each node."""
    wanted, found = cfg.cluster.devices, torch.cuda.device_count()
    if cfg.cluster.accelerator == "gpu" and found < wanted:
        raise ValueError(
            f"cluster.devices={wanted} GPUs, and this process sees {found}: every process must see all GPUs of its "
            "machine. Choose a smaller cluster, or cluster=cpu (`python plan.py` needs no GPU)"
        )


def check_places(cfg: DictConfig) -> None:
    """Raise ValueError if a callback or logger would write outside the run's folder."""
    folder = Path(cfg.run.folder).resolve()
    for group in ("callbacks", "logger"):
        for name, node in cfg[group].items():
            keys = [key for key in PLACES if node.get(key) is not None]
            places = {key: place for key in keys if (place := place_of(key, str(node[key]))) is not None}
            if "save_dir" in places:  # Lightning's loggers write to save_dir/name/version
                below = [str(node[key]) for key in ("name", "version") if node.get(key) is not None]
                places["save_dir"] = places["save_dir"].joinpath(*below)
            for key, place in places.items():
                if place.resolve() != folder and folder not in place.resolve().parents:
                    raise ValueError(
                        f"{group}.{name}.{key} leads to {place}, outside the run's folder {folder}: choose a place in "
                        "it, such as ${run.folder}/NAME"
                    )


def place_of(key: str, value: str) -> Path | None:
    """Return the path that a callback's or logger's setting leads to; None for a server's address."""
    scheme, found, rest = value.partition("://")
    if key not in ADDRESSES or not found:
        return Path(value)
    return {"file": Path(rest), "sqlite": Path(rest.removeprefix("/"))}.get(scheme)


def join_others(cfg: DictConfig, started: Launch) -> None:
    """Join the process group of the ranks that a launcher started."""
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
    """Return on every rank what `make` returns on rank 0; raise its error on every rank, as a ValueError.

    name: the environment variable that passes it to processes that do not exist yet.
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
    """Instantiate the objects that a config names."""
    tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
    vocabulary = vocabulary_size(cfg)
    datamodule = instantiate(cfg.datamodule, tokenizer=tokenizer, vocabulary=vocabulary)
    state = RunState(cfg.run.steps)
    policy = instantiate(cfg.policy, pad_token_id=padding_id(tokenizer, vocabulary), state=state)
    policy.pretrained.check(cfg.cluster.cp)
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    for group, parts, kind in (("callbacks", callbacks, Callback), ("logger", loggers, Logger)):
        for name, part in zip(cfg[group], parts, strict=True):
            if not isinstance(part, kind):
                raise ValueError(f"{group}.{name} is a {type(part).__name__}, and Lightning wants a {kind.__name__}")
    # Lightning would answer SIGUSR1 with its own checkpoint and requeue until the callback takes its place
    cluster = SLURMEnvironment(auto_requeue=False) if started.by == "Slurm" else None
    trainer = instantiate(cfg.trainer, callbacks=in_order(callbacks), logger=loggers, plugins=cluster)
    return Training(start, state, trainer, policy, datamodule)
