"""The callback that turns prompts into scored rollouts: it joins engine and policy."""

import logging
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter
from statistics import fmean
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from gmpo.callbacks.generation import Asked, Generation
from gmpo.metrics.rollout import GroupFacts, facts_of, mean_of_reports, rollout_metrics
from gmpo.parallel.collectives import exchange, gather, gather_lists, rank, world_size
from gmpo.policy.module import PolicyModule
from gmpo.rewards import Overlong, Reward, report_of
from gmpo.rollout import DynamicSampling, Engine, Scoring
from gmpo.run.errors import EngineError, RunError
from gmpo.types import Group, Prompt, PromptBatch, Rollout, Sampling

log = logging.getLogger(__name__)

Report = tuple[int, dict[str, float]]  # of how many responses, and what the reward says of them


class RolloutCallback(Callback):
    """Fills each batch in place: responses, rewards, and for training advantages.

    Training goes by the reward, validation by its verifier. advantage: shaped rewards float [B] and group ids
    int [B] -> float [B]. overlong and dynamic_sampling act in training only; fresh prompts come from the trainer's
    DataModule. seed: the run's; each request's seed is derived from it, so a run can be repeated exactly.
    async_steps: 1 has the engine generate the responses of the next rollout step while this one's update goes on, from
    weights that are one rollout step behind; the engine must live in a process of its own. Refills and validation use
    the newest weights, and wait. What was generated ahead stands in checkpoints.
    """

    def __init__(
        self,
        engine: Engine,
        reward: Reward,
        advantage: Callable[[Tensor, Tensor], Tensor],
        sampling: Sampling,
        samples: int,
        validation_sampling: Sampling,
        validation_samples: int,
        seed: int,
        overlong: Overlong,
        dynamic_sampling: DynamicSampling,
        scoring: Scoring,
        async_steps: int = 0,
    ) -> None:
        if async_steps not in (0, 1):
            raise ValueError(f"rollout.async_steps={async_steps} must be 0, or 1: how far generation is ahead")
        self.generation = Generation(engine, reward, seed, scoring)
        self.advantage = advantage
        self.sampling = sampling
        self.samples = samples
        self.validation_sampling = validation_sampling
        self.validation_samples = validation_samples
        self.overlong = overlong
        self.dynamic_sampling = dynamic_sampling
        self.async_steps = async_steps

    @property
    def engine(self) -> Engine:
        """What generates."""
        return self.generation.engine

    @property
    def reward(self) -> Reward:
        """What training goes by."""
        return self.generation.reward

    def state_dict(self) -> dict[str, Any]:
        """What was generated ahead, and how long responses are."""
        return self.generation.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self.generation.load_state(state_dict)

    def on_fit_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Start the engine, once the policy stands."""
        with pl_module.clock("start engine"):
            self.generation.start()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Begin a rollout step: G responses to each prompt, rewards, refills, advantages.

        Each rank fills in the groups of its own engine's prompts.
        """
        if pl_module.ends_because:  # by a callback, between two steps
            return
        pl_module.rollout_step += 1
        pl_module.clock.restart()
        groups, asked, reports = self._first_groups(pl_module, batch.prompts)
        reported = sum(count for count, _ in reports)

        def fresh(owners: list[int]) -> list[Group]:
            return self._fresh_groups(pl_module, trainer.datamodule.draw(len(owners)), owners, asked)

        refilled = self.dynamic_sampling.refill(groups, fresh, gather, rank())
        batch.groups, batch.discarded = refilled.groups, refilled.discarded
        with pl_module.clock("exchange"):  # ranks wait here for the slowest generation
            kept, discarded = gather_lists(facts_of(batch.groups)), gather_lists(facts_of(batch.discarded))
            made = (len(batch.groups) + len(batch.discarded)) * self.samples
            reports = gather_lists([*reports, (made - reported, report_of(self.reward))])
        self.generation.lengths.learn((group.prompt, [r.tokens for r in group.rollouts]) for group in kept + discarded)
        pl_module.log_dict(self._report(kept, discarded, refilled.refills, pl_module))
        self._leave_engine(trainer, pl_module)
        if pl_module.loss.kl.in_reward:
            pl_module.log("reward/kl_penalty", _take_kl_off(pl_module, batch.groups))
        pl_module.log_dict(rollout_metrics(kept + discarded))
        pl_module.log_dict({f"reward/{name}": value for name, value in mean_of_reports(reports).items()})
        self._set_advantages(batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Wait for what is generated ahead: between two steps nothing goes on."""
        if not pl_module.ends_because:
            self.generation.finish_ahead(pl_module)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: PolicyModule,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Responses and rewards of validation prompts."""
        batch.groups = self.generation.groups(
            pl_module, batch.prompts, self.validation_sampling, self.validation_samples, "validation"
        )
        report_of(self.reward)  # what is logged is of training

    def teardown(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """End the engine and the reward's processes."""
        self.generation.close()

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """End the engine and the reward's processes."""
        self.generation.close()

    def _first_groups(self, policy: PolicyModule, prompts: list[Prompt]) -> tuple[list[Group], Asked, list[Report]]:
        """Those that were generated ahead, or else of now; with what the reward reported of them, if it was asked."""
        taken = self.generation.take_ahead(policy, prompts) if self.async_steps else None
        if taken is None:
            asked, policy.staleness, seconds, reports = Asked(), 0, 0.0, []
            groups = self.generation.groups(policy, prompts, self.sampling, self.samples, "train", asked)
        else:
            ahead, groups = taken
            asked, policy.staleness = ahead.asked, policy.policy_version - ahead.policy_version
            seconds = ahead.clock.seconds["generate"] + ahead.clock.seconds["reward"]
            policy.clock.seconds["generate_tail"] += ahead.clock.seconds["generate_tail"]
            reports = [(len(groups) * self.samples, ahead.report or {})]
        if self.async_steps:
            policy.log_dict({"rollout/staleness": float(policy.staleness), "time/prefetch": seconds})
        return self._penalized(groups), asked, reports

    def _leave_engine(self, trainer: Trainer, policy: PolicyModule) -> None:
        """To the next step's responses, or asleep."""
        if self.async_steps == 0:
            with suppress(EngineError):  # the next weights that it is to take tell it again
                self.engine.sleep()
        elif policy.rollout_step < trainer.datamodule.steps and not policy.ends_because:
            self.generation.begin_ahead(policy, trainer.datamodule.peek(), self.sampling, self.samples)

    def _penalized(self, groups: list[Group]) -> list[Group]:
        for group in groups:
            for rollout in group.rollouts:
                rollout.penalty = self.overlong.penalty(rollout.response)
                rollout.in_loss = self.overlong.in_loss(rollout.response)
        return groups

    def _fresh_groups(
        self, policy: PolicyModule, prompts: list[Prompt], owners: list[int], asked: Asked
    ) -> list[Group]:
        """Groups for the prompts of a refill, spread over all engines and sent to the ranks that lack them."""
        outgoing: list[list[tuple[int, Group]]] = [[] for _ in range(world_size())]
        layout = self.generation.layout
        made = self._penalized(self.generation.groups(policy, prompts, self.sampling, self.samples, "train", asked))
        for turn, group in enumerate(made):
            number = layout.engine + turn * layout.engines
            outgoing[owners[number]].append((number, group))
        return [group for _, group in sorted(exchange(outgoing), key=itemgetter(0))]

    def _report(
        self, kept: list[GroupFacts], discarded: list[GroupFacts], refills: int, policy: PolicyModule
    ) -> dict[str, float]:
        """Say and count what dynamic sampling did; where nothing is left to learn from, training ends."""
        step, most = policy.rollout_step, self.dynamic_sampling.max_refills
        lacking = sum(group.zero_advantage for group in kept)
        nothing = lacking == len(kept) and not policy.loss.learns_without_rewards
        if nothing and most:
            made = kept + discarded
            mean = rollout_metrics(made)["reward/mean"]
            policy.ends_because = (
                f"rollout step {step} found no signal in {len(made)} groups: the rewards of each are equal (their "
                f"mean is {mean:.3f}), or all of its responses are left out of the loss. The problems "
                "are too hard or too easy, or the reward cannot tell responses apart: read rollouts/train.jsonl in "
                "the run folder, then choose other data or raise batch.group_size"
            )
        elif nothing:
            log.warning("step %d: no group carries a signal, nothing is learned", step)
        elif most and lacking:
            log.warning("step %d: %d refills leave %d of %d groups with zero advantage", step, most, lacking, len(kept))
        if not most:
            return {}
        return {
            "rollout/refills": float(refills),
            "rollout/refilled_groups": float(len(discarded)),
            "rollout/unfilled_groups": float(lacking),
        }

    def _set_advantages(self, batch: PromptBatch) -> None:
        """Fill in advantages; raise RunError on every rank where one rank's cannot be computed."""
        fault: str | None = None
        rollouts = [(index, rollout) for index, group in enumerate(batch.groups) for rollout in group.rollouts]
        if rollouts:  # else another rank keeps them
            try:
                for (_, rollout), advantage in zip(rollouts, self._advantages(rollouts), strict=True):
                    rollout.advantage = advantage
            except Exception as error:  # noqa: BLE001  (an advantage may be a user's code)
                fault = f"the advantage {type(self.advantage).__name__} failed: {type(error).__name__}: {error}"
        if faults := list(filter(None, gather(fault))):
            raise RunError(f"{faults[0]}: it takes rewards float [B] and group ids int [B], and returns float [B]")

    def _advantages(self, rollouts: list[tuple[int, Rollout]]) -> list[float]:
        rewards = torch.tensor([rollout.shaped_reward for _, rollout in rollouts], dtype=torch.float32)
        advantages = self.advantage(rewards, torch.tensor([index for index, _ in rollouts]))
        if advantages.shape != rewards.shape:
            raise ValueError(f"it returned shape {list(advantages.shape)} for {len(rewards)} rewards")
        if rewards.isfinite().all() and not advantages.isfinite().all():
            raise ValueError("it returned values that are not finite, of rewards that are")
        return advantages.tolist()


def _take_kl_off(policy: PolicyModule, groups: list[Group]) -> float:
    """Returns the mean of what was taken off, over all ranks."""
    policy.fill_log_probs(groups)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    for rollout in rollouts:
        assert rollout.old_log_probs is not None
        assert rollout.ref_log_probs is not None
        rollout.kl_penalty = policy.loss.kl.of_response(rollout.old_log_probs, rollout.ref_log_probs)
    return fmean(gather_lists([rollout.kl_penalty for rollout in rollouts]))
