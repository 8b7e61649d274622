"""Sampled responses, for people to read."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from gmpo.batching import in_order
from gmpo.callbacks.ordered import OrderedCallback
from gmpo.metrics.loggers import TensorBoard
from gmpo.parallel.collectives import gather, rank
from gmpo.policy.module import PolicyModule
from gmpo.types import Group, PromptBatch

log = logging.getLogger(__name__)

Row = dict[str, object]


class RolloutTableCallback(OrderedCallback):
    """Appends some groups of each step to FOLDER/train.jsonl and validation.jsonl, and shows them in TensorBoard.

    groups: how many groups of each step, with all of their responses. validation_groups: of each validation.
    """

    order = 60

    def __init__(self, folder: str, groups: int, validation_groups: int) -> None:
        self.folder = Path(folder)
        self.groups = groups
        self.validation_groups = validation_groups
        self._validated: list[Row] = []
        self._unwritten: dict[str, str] = {}  # lines, by purpose

    def state_dict(self) -> dict[str, dict[str, int] | dict[str, str]]:
        """Return the sizes of the files in bytes, and the lines that could not be written yet."""
        sizes = {path.name: path.stat().st_size for path in self.folder.glob("*.jsonl")}
        return {"sizes": sizes, "unwritten": dict(self._unwritten)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Truncate what was written after the checkpoint: it is written again."""
        self._unwritten = dict(state_dict["unwritten"])
        if rank() > 0:
            return
        for path in self.folder.glob("*.jsonl"):
            if (size := state_dict["sizes"].get(path.name, 0)) <= path.stat().st_size:
                os.truncate(path, size)
            else:
                log.warning("%s is shorter than when the checkpoint was written: rows are missing in it", path)

    def on_train_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Lay out TensorBoard's chart of the log-ratio's range."""
        names = ["policy/log_ratio_mean", "policy/log_ratio_min", "policy/log_ratio_max"]
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoard):
                logger.log_margin("policy", "log_ratio range", names)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Record training rollouts."""
        self._record(trainer, pl_module.state.rollout_step, "train", _first_rows(pl_module, batch.groups, self.groups))

    def on_fit_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Retry rows that could not be written; a run whose rows are missing is not finished."""
        for purpose in list(self._unwritten):
            self._append(purpose, "")
        if any(gather(bool(self._unwritten))):
            pl_module.state.stop(
                f"the last responses could not be written to {self.folder}: make room, then give the same command again"
            )

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: PolicyModule,
        outputs: object,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep validation rollouts of the first batch."""
        if batch_idx == 0:
            self._validated = _first_rows(pl_module, batch.groups, self.validation_groups)

    def on_validation_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Record them once the validation is complete: one that was cut off is repeated."""
        self._record(trainer, pl_module.state.rollout_step, "validation", self._validated)
        self._validated = []

    @rank_zero_only
    def _record(self, trainer: Trainer, step: int, purpose: str, rows: list[Row]) -> None:
        # a lone surrogate becomes its escape, which JSON reads back
        self._append(purpose, "".join(whole_characters(json.dumps(row, ensure_ascii=False)) + "\n" for row in rows))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoard):
                logger.log_text(f"rollouts/{purpose}", _markdown(rows), step)

    def _append(self, purpose: str, lines: str) -> None:
        """Append whole lines or nothing; lines that a full disk refuses are written before the next ones."""
        path, lines = self.folder / f"{purpose}.jsonl", self._unwritten.pop(purpose, "") + lines
        size = path.stat().st_size if path.is_file() else 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(lines)
        except OSError as error:
            log.error("%s could not be written (%s): its rows are kept until it can", path, error.strerror)
            self._unwritten[purpose] = lines
            if path.is_file():
                os.truncate(path, size)


def _first_rows(policy: PolicyModule, groups: list[Group], count: int) -> list[Row]:
    """Return the rows of the batch's first groups, whichever ranks hold them; collective."""
    holding = [r for r, held in enumerate(gather(len(groups))) if held]
    own: list[list[Row]] = []
    if groups:
        places = range(holding.index(rank()), count, len(holding))
        own = [_rows(policy.state.rollout_step, group) for group, _ in zip(groups, places, strict=False)]
    return [row for rows in in_order(gather(own)) for row in rows]


def _rows(step: int, group: Group) -> list[Row]:
    return [
        {
            "rollout_step": step,
            "prompt_index": group.prompt.index,
            "prompt": group.prompt.text,
            "answer": group.prompt.answer,
            "response": rollout.response.text,
            "final_answer": rollout.final_answer,
            "reward": rollout.reward,
            "penalty": rollout.penalty + rollout.kl_penalty,
            "advantage": rollout.advantage,
            "tokens": len(rollout.response.token_ids),
            "truncated": rollout.response.truncated,
        }
        for rollout in group.rollouts
    ]


def _markdown(rows: list[Row]) -> str:
    columns = ("prompt", "response", "answer", "reward", "advantage")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_cell(row[column]) for column in columns)} |" for row in rows]
    return "\n".join(lines)


def whole_characters(text: str) -> str:
    """Return the text with half characters (lone surrogates) escaped, so that it can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _cell(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else whole_characters(str(value))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")
