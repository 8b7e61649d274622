"""Where a run begins: anew, or where one before it was cut off."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gmpo.checkpoint import folder as checkpoints
from gmpo.checkpoint.folder import Manifest
from gmpo.metrics.loggers import read_metrics, write_metrics
from gmpo.run import folder as run_folder

log = logging.getLogger(__name__)

IGNORED = (  # settings that do not decide what is learned; a run that differs in any other one is another run
    *("run", "resume", "paths", "checkpoint", "callbacks", "logger", "guards", "profile", "scoring", "cluster"),
    *("trainer", "datamodule", "sharding"),  # made of other settings, or of the same numbers in another place
    *("policy.pretrained", "policy.loss", "policy.optimizer", "policy.schedule", "policy.max_skipped_steps"),
    *("policy.max_logits_per_chunk", "policy.reference_on_cpu", "policy.skip_zero_advantage"),
    *("policy.max_tokens_per_micro_batch", "policy.max_tokens_per_log_prob_batch"),
    *("batch.max_tokens_per_micro_batch", "batch.max_tokens_per_log_prob_batch"),
    *("rollout.timeout", "rollout.first_gpu", "rollout.subprocess", "rollout.engine.model_path"),
    *("rollout.engine.gpu_memory_utilization", "rollout.engine.kv_cache_gib", "rollout.engine.tensor_parallel"),
    *("rollout.engine.enable_sleep_mode", "rollout.engine.max_num_seqs", "rollout.engine.max_num_batched_tokens"),
    *("model.make.folder", "reward.processes"),
)
COMPARED = ("run.seed", "cluster.dtype")  # of what is ignored
RECORDS = ("metrics.csv", "rollouts")
OF_THIS_PROCESS_ALONE = ("tensorboard", "skipped_updates", "profile")  # records that begin anew with the run


@dataclass(frozen=True)
class Start:
    """Where a run begins."""

    folder: str
    checkpoint: str | None = None
    step: int = 0  # of the checkpoint
    records_of: str | None = None  # the run whose records until then are copied

    def to_json(self) -> str:
        """For other processes of the run."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Start:
        """As it was."""
        return Start(**json.loads(text))


def choose_start(cfg: DictConfig) -> Start:
    """Claim the folder of the run, and leave what is in it as it is; raises ValueError where it cannot go on.

    resume=never takes the next free name. auto goes on with the first run of the name that is unfinished and has the
    same settings, but for those that are `IGNORED`. A run's folder goes on there, and a checkpoint in the next free
    name, or in the run that this very command has begun from it before.
    """
    if cfg.resume == "never":
        return Start(str(_next_free(cfg)))
    if cfg.resume == "auto":
        with run_folder.one_place(cfg.run.root, cfg.run.name):
            return _auto(cfg)
    path = Path(str(cfg.resume))
    if run_folder.is_run(path):
        run_folder.claim(path)
        start = _newest(path)
        if start.checkpoint is None:
            raise ValueError(f"resume={path} holds no checkpoint: start anew by resume=never")
        _check_steps(cfg, start.step)
        _compare_settings(cfg, path)
        return _said(cfg, start)
    if (path / checkpoints.MANIFEST).is_file():
        return _said(cfg, _fork(cfg, path.resolve()))
    raise ValueError(
        f"resume={path} is neither auto, never, a run's folder (with {run_folder.CONFIG}) nor a checkpoint (with "
        f"{checkpoints.MANIFEST})"
    )


def begin(start: Start) -> None:
    """Put the records in the run's folder back to where it goes on."""
    folder = Path(start.folder)
    (folder / run_folder.FINISHED).unlink(missing_ok=True)
    if start.checkpoint is None or start.records_of is not None:
        for name in (*RECORDS, *OF_THIS_PROCESS_ALONE):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).unlink(missing_ok=True)
    for record in [Path(start.records_of, name) for name in RECORDS] if start.records_of else []:
        if record.is_dir():
            shutil.copytree(record, folder / record.name)
        elif record.is_file():
            shutil.copy(record, folder / record.name)
    metrics = folder / "metrics.csv"  # files of responses are cut back by who writes them
    if metrics.is_file():
        write_metrics(metrics, [row for row in read_metrics(metrics) if int(row["rollout_step"]) <= start.step])


def _auto(cfg: DictConfig) -> Start:
    for folder in run_folder.candidates(cfg.run.root, cfg.run.name):
        if run_folder.is_free(folder):
            return Start(str(_next_free(cfg)))
        if reason := _why_left(cfg, folder):
            log.info("%s %s", folder, reason)
            continue
        run_folder.claim(folder)
        start, planned = _newest(folder), int(_config(folder).run.steps)
        if start.step < cfg.run.steps and not run_folder.is_finished(folder):
            return _said(cfg, start)
        if start.step < planned and not run_folder.is_finished(folder):
            raise ValueError(
                f"{folder} has made {start.step} of its {planned} rollout steps, and run.steps={cfg.run.steps}: raise "
                "it to go on, or start anew by resume=never"
            )
        run_folder.mark_finished(folder, start.step)  # it was cut off after everything was done
        run_folder.leave(folder)
    raise AssertionError("there is always a next name")


def _why_left(cfg: DictConfig, folder: Path) -> str | None:
    """Why a folder is left as it is, if it is."""
    if not run_folder.is_run(folder):
        return "exists and is left as it is: it is no run's"
    if run_folder.is_finished(folder):
        return "is finished and left as it is"
    if "checkpoint" not in _config(folder):
        return "is left as it is: it was made before there were checkpoints"
    if different := differences(cfg, folder):
        return f"is unfinished and left as it is: it has other settings ({'; '.join(different)})"
    return None


def _next_free(cfg: DictConfig) -> Path:
    folder = run_folder.create(cfg.run.root, cfg.run.name)
    if folder.name != str(cfg.run.name):
        log.info("this run is %s", folder)
    return folder


def _newest(folder: Path) -> Start:
    """From the newest whole checkpoint of a run; where there are none, from its beginning."""
    checkpoint = checkpoints.newest_whole(folder / "checkpoints")
    if checkpoint is None:
        return Start(str(folder))
    return Start(str(folder), str(checkpoint), Manifest.read(checkpoint).rollout_step)


def _fork(cfg: DictConfig, checkpoint: Path) -> Start:
    """A run of its own from a checkpoint of another one."""
    begun = _begun_from(cfg)
    if begun is not None:
        run_folder.claim(begun)
        start = _newest(begun)
        if start.checkpoint is not None:
            return start
    if (fault := checkpoints.damage(checkpoint)) is not None:
        raise ValueError(f"resume={cfg.resume} is damaged: {fault}")
    step, source = Manifest.read(checkpoint).rollout_step, checkpoint.parents[1]
    _check_steps(cfg, step)
    if run_folder.is_run(source):
        _compare_settings(cfg, source)
    return Start(str(begun or _next_free(cfg)), str(checkpoint), step, str(source))


def _begun_from(cfg: DictConfig) -> Path | None:
    """The unfinished run that this very command has begun from its checkpoint before."""
    for folder in run_folder.candidates(cfg.run.root, cfg.run.name):
        if run_folder.is_free(folder):
            return None
        if not _why_left(cfg, folder) and _config(folder).resume == cfg.resume:
            return folder
    raise AssertionError("there is always a next name")


def _said(cfg: DictConfig, start: Start) -> Start:
    """Say how the run goes on, and what keeps the numbers from being the same, bit for bit."""
    if start.checkpoint is None:
        log.info("%s was cut off before its first checkpoint: beginning again", start.folder)
        return start
    if start.records_of is not None:
        log.info("%s goes on after step %d of %s", start.folder, start.step, start.records_of)
    else:
        log.info("resuming %s after step %d of %d", start.folder, start.step, cfg.run.steps)
    manifest = Manifest.read(Path(start.checkpoint))
    ranks = cfg.cluster.devices * cfg.cluster.nodes
    if ranks != manifest.ranks:
        log.warning("saved on %d ranks, resumed on %d: the same prompts, not the same bits", manifest.ranks, ranks)
    installed = checkpoints.versions()
    changed = [f"{name} {old}" for name, old in manifest.versions.items() if installed.get(name) != old]
    if changed:
        log.warning("saved with other packages (%s): the numbers may differ", ", ".join(changed))
    return start


def _check_steps(cfg: DictConfig, step: int) -> None:
    if cfg.run.steps <= step:
        raise ValueError(
            f"resume={cfg.resume} has made {step} rollout steps and run.steps={cfg.run.steps}: raise run.steps to go on"
        )


def _compare_settings(cfg: DictConfig, folder: Path) -> None:
    """Log which settings differ from those of the run in a folder; raise ValueError where its state cannot be used."""
    before, now = str(OmegaConf.select(_config(folder), "optimizer._target_")), str(cfg.optimizer._target_)
    if _class_of(before) is not _class_of(now):
        raise ValueError(
            f"resume={cfg.resume}: its optimizer was {before}, and this run's is {now}, which cannot take over its "
            "state. Leave optimizer=... as it was, or start anew from its model by resume=never model=FOLDER/model"
        )
    if different := differences(cfg, folder):
        log.warning("other settings than the run had: %s", "; ".join(different))


def _class_of(name: str) -> object:
    """Return what a dotted name names, the name itself where that cannot be imported."""
    try:
        return get_object(name)
    except (ImportError, ValueError):
        return name


def differences(cfg: DictConfig, folder: Path) -> list[str]:
    """Return the settings that differ from those of the run in a folder, as KEY was OLD, is NEW."""
    before = _config(folder)
    ignored = (*IGNORED, "model.path") if cfg.model.make is not None else IGNORED  # a model made here, wherever that is
    return [
        f"{key} was {old}, is {new}"
        for key in dict.fromkeys([*_leaf_names("", cfg), *_leaf_names("", before)])
        if not _is_in(key, ignored) or _is_in(key, COMPARED)
        if (old := _value(before, key)) != (new := _value(cfg, key))
    ]


def _is_in(key: str, sections: Sequence[str]) -> bool:
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


def _config(folder: Path) -> DictConfig:
    """Of a run that was made before."""
    try:
        found = OmegaConf.load(folder / run_folder.CONFIG)
    except (OSError, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the config of {folder} cannot be read ({reason}): start anew by resume=never") from error
    assert isinstance(found, DictConfig)
    return found


def _leaf_names(section: str, value: Any) -> list[str]:
    if not isinstance(value, DictConfig):
        return [section]
    return [
        leaf for name in map(str, value) for leaf in _leaf_names(f"{section}.{name}".lstrip("."), _value(value, name))
    ]


def _value(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:  # refers to what is set later
        return None
