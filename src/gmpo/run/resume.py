"""The start of a run: anew, or where an earlier one was cut off."""

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

IGNORED = (  # settings that do not decide what is learned; with any other difference it is another run
    *("run", "resume", "paths", "checkpoint", "callbacks", "logger", "guards", "profile", "scoring", "cluster"),
    *("trainer", "datamodule", "sharding"),  # derived from other settings, or the same numbers elsewhere
    *("policy.pretrained", "policy.loss", "policy.optimizer", "policy.schedule", "policy.max_skipped_steps"),
    *("policy.max_logits_per_chunk", "policy.reference_on_cpu", "policy.skip_zero_advantage"),
    *("policy.max_tokens_per_micro_batch", "policy.max_tokens_per_log_prob_batch"),
    *("batch.max_tokens_per_micro_batch", "batch.max_tokens_per_log_prob_batch"),
    *("rollout.timeout", "rollout.first_gpu", "rollout.subprocess", "rollout.engine.model_path"),
    *("rollout.engine.gpu_memory_utilization", "rollout.engine.kv_cache_gib", "rollout.engine.tensor_parallel"),
    *("rollout.engine.enable_sleep_mode", "rollout.engine.max_num_seqs", "rollout.engine.max_num_batched_tokens"),
    *("model.make.folder", "reward.processes"),
)
COMPARED = ("run.seed", "cluster.dtype")  # exceptions from IGNORED
RECORDS = ("metrics.csv", "rollouts")
OF_THIS_PROCESS_ALONE = ("tensorboard", "skipped_updates", "profile")  # records that begin anew with the run


@dataclass(frozen=True)
class Start:
    """The folder and the checkpoint that a run begins from."""

    folder: str
    checkpoint: str | None = None
    step: int = 0  # of the checkpoint
    records_of: str | None = None  # the run whose records until then are copied

    def to_json(self) -> str:
        """Return the start as text, for other processes of the run."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Start:
        """Return the start that a text describes."""
        return Start(**json.loads(text))


def choose_start(cfg: DictConfig) -> Start:
    """Claim the run's folder without touching its content; raise ValueError if the run cannot be resumed.

    resume=never takes the next free name. auto resumes the first run of the name that is unfinished and has the same
    settings, except `IGNORED` ones. A run's folder is resumed in place. A checkpoint starts a run under the next free
    name, or resumes the run that this very command started from it before.
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
            raise ValueError(f"resume={path} holds no checkpoint: start anew with resume=never")
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
    """Cut the records in the run's folder back to the step that it resumes from."""
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
    metrics = folder / "metrics.csv"  # the rollout table cuts its own files back
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
                "it to resume, or start anew with resume=never"
            )
        run_folder.mark_finished(folder, start.step)  # it was cut off when everything was done
        run_folder.leave(folder)
    raise AssertionError("there is always a next name")


def _why_left(cfg: DictConfig, folder: Path) -> str | None:
    """Return why a folder is left untouched, None if it is not."""
    if not run_folder.is_run(folder):
        return "exists but is not a run's folder; leaving it untouched"
    if run_folder.is_finished(folder):
        return "is finished; leaving it untouched"
    if "checkpoint" not in _config(folder):
        return "was made before there were checkpoints; leaving it untouched"
    if different := differences(cfg, folder):
        return f"is unfinished but was started with different settings ({'; '.join(different)}); leaving it untouched"
    return None


def _next_free(cfg: DictConfig) -> Path:
    folder = run_folder.create(cfg.run.root, cfg.run.name)
    if folder.name != str(cfg.run.name):
        log.info("this run is %s", folder)
    return folder


def _newest(folder: Path) -> Start:
    """Return the start from a run's newest whole checkpoint, or from its beginning if there is none."""
    checkpoint = checkpoints.newest_whole(folder / "checkpoints")
    if checkpoint is None:
        return Start(str(folder))
    return Start(str(folder), str(checkpoint), Manifest.read(checkpoint).rollout_step)


def _fork(cfg: DictConfig, checkpoint: Path) -> Start:
    """Return the start of a new run from another run's checkpoint."""
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
    """Return the unfinished run that this very command started from its checkpoint before, if any."""
    for folder in run_folder.candidates(cfg.run.root, cfg.run.name):
        if run_folder.is_free(folder):
            return None
        if not _why_left(cfg, folder) and _config(folder).resume == cfg.resume:
            return folder
    raise AssertionError("there is always a next name")


def _said(cfg: DictConfig, start: Start) -> Start:
    """Log how the run resumes, and why its numbers may not be bit-identical."""
    if start.checkpoint is None:
        log.info("%s was cut off before its first checkpoint: beginning again", start.folder)
        return start
    if start.records_of is not None:
        log.info("resuming %s after step %d of %s", start.folder, start.step, start.records_of)
    else:
        log.info("resuming %s after step %d of %d", start.folder, start.step, cfg.run.steps)
    manifest = Manifest.read(Path(start.checkpoint))
    ranks = cfg.cluster.devices * cfg.cluster.nodes
    if ranks != manifest.ranks:
        log.warning(
            "resuming on %d ranks a checkpoint written by %d: prompts match, results are not bit-identical",
            *(ranks, manifest.ranks),
        )
    installed = checkpoints.versions()
    changed = [f"{name} {old}" for name, old in manifest.versions.items() if installed.get(name) != old]
    if changed:
        log.warning("checkpoint written with other packages (%s): the numbers may differ", ", ".join(changed))
    return start


def _check_steps(cfg: DictConfig, step: int) -> None:
    if cfg.run.steps <= step:
        raise ValueError(
            f"resume={cfg.resume} has made {step} rollout steps and run.steps={cfg.run.steps}: raise run.steps"
        )


def _compare_settings(cfg: DictConfig, folder: Path) -> None:
    """Log which settings differ from those of the run in a folder; raise ValueError if its state cannot be used."""
    before, now = str(OmegaConf.select(_config(folder), "optimizer._target_")), str(cfg.optimizer._target_)
    if _class_of(before) is not _class_of(now):
        raise ValueError(
            f"resume={cfg.resume}: its optimizer was {before}, and this run's is {now}, which cannot take over its "
            "state. Keep its optimizer=..., or start anew from its model with resume=never model=FOLDER/model"
        )
    if different := differences(cfg, folder):
        log.warning("settings differ from those of the run: %s", "; ".join(different))


def _class_of(name: str) -> object:
    """Return the object of a dotted name, or the name itself if it cannot be imported."""
    try:
        return get_object(name)
    except (ImportError, ValueError):
        return name


def differences(cfg: DictConfig, folder: Path) -> list[str]:
    """Return the settings that differ from those of the run in a folder, as KEY was OLD, is NEW."""
    before = _config(folder)
    ignored = (*IGNORED, "model.path") if cfg.model.make is not None else IGNORED  # a model made here
    return [
        f"{key} was {old}, is {new}"
        for key in dict.fromkeys([*_leaf_names("", cfg), *_leaf_names("", before)])
        if not _is_in(key, ignored) or _is_in(key, COMPARED)
        if (old := _value(before, key)) != (new := _value(cfg, key))
    ]


def _is_in(key: str, sections: Sequence[str]) -> bool:
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


def _config(folder: Path) -> DictConfig:
    """Return the config of an earlier run."""
    try:
        found = OmegaConf.load(folder / run_folder.CONFIG)
    except (OSError, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the config of {folder} cannot be read ({reason}): start anew with resume=never") from error
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
    except OmegaConfBaseException:  # refers to a value that is set later
        return None
