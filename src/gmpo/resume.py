"""Where a run begins: anew, or where one before it was cut off."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gmpo import checkpoints, run_folder
from gmpo.checkpoints import Manifest
from gmpo.loggers import read_metrics, write_metrics

log = logging.getLogger(__name__)

DECIDING = (  # settings that decide what is learned: a run with others is another run
    *("run.seed", "model.path", "model.make", "data", "reward", "objective", "advantage", "correction"),
    *("batch.prompts", "batch.group_size", "batch.mini_batch_prompts", "sampling", "validation"),
    *("dynamic_sampling", "overlong", "kl", "entropy", "optimizer", "schedule"),
    *("policy.gradient_clip", "policy.old_log_probs"),
)
RECORDS = ("metrics.csv", "rollouts")


@dataclass(frozen=True)
class Start:
    """Where a run begins."""

    folder: str
    checkpoint: str | None = None
    step: int = 0  # of the checkpoint

    def to_json(self) -> str:
        """For other processes of the run."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Start:
        """As it was."""
        return Start(**json.loads(text))


def choose_start(cfg: DictConfig) -> Start:
    """Claim the folder of the run and put its records back to where it goes on; raises ValueError where it cannot.

    resume=never takes the next free name. auto goes on with the first run of the name that is unfinished and has the
    same deciding settings. A run's folder goes on there, and a checkpoint in the next free name, with copies of what
    its run had recorded until then.
    """
    if cfg.resume == "never":
        return Start(str(_next_free(cfg)))
    if cfg.resume == "auto":
        return _auto(cfg)
    path = Path(str(cfg.resume))
    if run_folder.is_run(path):
        if (start := _continue(cfg, path)) is None:
            raise ValueError(f"resume={path} holds no checkpoint: start anew by resume=never")
        return start
    if (path / checkpoints.MANIFEST).is_file():
        return _fork(cfg, path)
    raise ValueError(
        f"resume={path} is neither auto, never, a run's folder (with {run_folder.CONFIG}) nor a checkpoint (with "
        f"{checkpoints.MANIFEST})"
    )


def _auto(cfg: DictConfig) -> Start:
    for folder in run_folder.candidates(cfg.run.root, cfg.run.name):
        if run_folder.is_free(folder):
            return Start(str(_next_free(cfg)))
        if not run_folder.is_run(folder):
            log.info("%s exists and is left as it is: it is no run's", folder)
        elif run_folder.is_finished(folder):
            log.info("%s is finished and left as it is", folder)
        elif different := differences(cfg, folder):
            log.info("%s is unfinished and left as it is: it has other settings (%s)", folder, "; ".join(different))
        else:
            start = _continue(cfg, folder) or _begin_again(folder)
            if start.step < cfg.run.steps:
                return start
            run_folder.mark_finished(folder, start.step)  # cut off after everything was done
            run_folder.leave(folder)
    raise AssertionError("there is always a next name")


def _next_free(cfg: DictConfig) -> Path:
    folder = run_folder.create(cfg.run.root, cfg.run.name)
    if folder.name != str(cfg.run.name):
        log.info("this run is %s", folder)
    return folder


def _continue(cfg: DictConfig, folder: Path) -> Start | None:
    """In the same folder, from its newest whole checkpoint; None where there are none."""
    run_folder.claim(folder)
    checkpoint = checkpoints.newest_whole(folder / "checkpoints")
    if checkpoint is None:
        return None
    manifest = Manifest.read(checkpoint)
    if cfg.resume != "auto":
        _check_steps(cfg, manifest)
        if different := differences(cfg, folder):
            log.warning("other settings than the run had: %s", "; ".join(different))
        (folder / run_folder.FINISHED).unlink(missing_ok=True)
    log.info("resuming %s after step %d of %d", folder, manifest.rollout_step, cfg.run.steps)
    _compare(cfg, manifest)
    _rewind(folder, manifest.rollout_step)
    return Start(str(folder), str(checkpoint), manifest.rollout_step)


def _begin_again(folder: Path) -> Start:
    log.info("%s was cut off before its first checkpoint: beginning again", folder)
    for record in ("rollouts", "tensorboard", "faults"):
        shutil.rmtree(folder / record, ignore_errors=True)
    (folder / "metrics.csv").unlink(missing_ok=True)
    return Start(str(folder))


def _fork(cfg: DictConfig, checkpoint: Path) -> Start:
    if (fault := checkpoints.damage(checkpoint)) is not None:
        raise ValueError(f"resume={checkpoint} is damaged: {fault}")
    manifest = Manifest.read(checkpoint)
    _check_steps(cfg, manifest)
    source = checkpoint.resolve().parents[1]
    if run_folder.is_run(source) and (different := differences(cfg, source)):
        log.warning("other settings than the run had: %s", "; ".join(different))
    folder = _next_free(cfg)
    for record in (source / name for name in RECORDS):
        if record.is_dir():
            shutil.copytree(record, folder / record.name)
        elif record.is_file():
            shutil.copy(record, folder / record.name)
    log.info("%s goes on after step %d of %s", folder, manifest.rollout_step, source)
    _compare(cfg, manifest)
    _rewind(folder, manifest.rollout_step)
    return Start(str(folder), str(checkpoint.resolve()), manifest.rollout_step)


def _check_steps(cfg: DictConfig, manifest: Manifest) -> None:
    if cfg.run.steps <= manifest.rollout_step:
        raise ValueError(
            f"resume={cfg.resume} has made {manifest.rollout_step} rollout steps and run.steps={cfg.run.steps}: "
            "raise run.steps to go on"
        )


def _rewind(folder: Path, step: int) -> None:
    """Take back the rows of later steps; files of responses are cut off by who writes them."""
    path = folder / "metrics.csv"
    if path.is_file():
        write_metrics(path, [row for row in read_metrics(path) if int(row["rollout_step"]) <= step])


def _compare(cfg: DictConfig, manifest: Manifest) -> None:
    """Say what keeps the numbers from being the same, bit for bit."""
    ranks = cfg.cluster.devices * cfg.cluster.nodes
    if ranks != manifest.ranks:
        log.warning("saved on %d ranks, resumed on %d: the same prompts, not the same bits", manifest.ranks, ranks)
    installed = checkpoints.versions()
    changed = [f"{name} {old}" for name, old in manifest.versions.items() if installed.get(name) != old]
    if changed:
        log.warning("saved with other packages (%s): the numbers may differ", ", ".join(changed))


def differences(cfg: DictConfig, folder: Path) -> list[str]:
    """Deciding settings that differ from those of the run in a folder, as KEY was OLD, is NEW."""
    before = OmegaConf.load(folder / run_folder.CONFIG)
    assert isinstance(before, DictConfig)
    return [
        f"{key} was {old}, is {new}"
        for key in _leaves(cfg) | _leaves(before)
        if (old := _value(before, key)) != (new := _value(cfg, key)) and not _is_made_model(cfg, key)
    ]


def _is_made_model(cfg: DictConfig, key: str) -> bool:
    """The project makes this model itself, wherever that is."""
    return (key == "model.path" and cfg.model.make is not None) or key == "model.make.folder"


def _leaves(cfg: DictConfig) -> dict[str, None]:
    """Names of the deciding settings, in order."""
    return dict.fromkeys(leaf for key in DECIDING for leaf in _leaf_names(key, OmegaConf.select(cfg, key)))


def _leaf_names(key: str, value: Any) -> list[str]:
    if not isinstance(value, DictConfig):
        return [key]
    return [leaf for name in map(str, value) for leaf in _leaf_names(f"{key}.{name}", _value(value, name))]


def _value(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:  # refers to what is set later
        return None
