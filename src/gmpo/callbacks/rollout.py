"""The callback that turns prompts into scored rollouts: it joins engine and policy."""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from operator import itemgetter
from statistics import fmean

import torch
from lightning import Callback, Trainer
from torch import Tensor

from gmpo.callbacks.rollout_metrics import GroupFacts, facts_of, mean_of_reports, rollout_metrics
from gmpo.failures import EngineError, RunError
from gmpo.layout import EngineLayout
from gmpo.parallel import exchange, gather, gather_lists, rank, world_size
from gmpo.policy import PolicyModule
from gmpo.rewards import Overlong, Reward, close, report_of, verifier_of
from gmpo.rollout import DynamicSampling, Engine, Scoring, request_seed, scored_groups
from gmpo.types import Group, Prompt, PromptBatch, Sampling

log = logging.getLogger(__name__)


class RolloutCallback(Callback):
    """Fills each batch in place: responses, rewards, and for training advantages.

    Training goes by the reward, validation by its verifier. advantage: shaped rewards float [B] and group ids
    int [B] -> float [B]. overlong and dynamic_sampling act in training only; fresh prompts come from the trainer's
    DataModule. seed: the run's; each request's seed is derived from it, so a run can be repeated exactly.
    """

    def __init__(
        self,
        engine: Engine,
        reward: Reward,
        advantage: Callable[[Tensor, Tensor], Tensor],
        sampling: Sampling,
        validation_sampling: Sampling,
        seed: int,
        overlong: Overlong,
        dynamic_sampling: DynamicSampling,
        scoring: Scoring,
    ) -> None:
        self.engine = engine
        self.reward = reward
        self.advantage = advantage
        self.sampling = sampling
        self.validation_sampling = validation_sampling
        self.seed = seed
        self.overlong = overlong
        self.dynamic_sampling = dynamic_sampling
        self.scoring = scoring

    def on_fit_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Start the engine, once the policy stands."""
        with pl_module.clock("start engine"):
            if errors := _errors(self.engine.start):
                raise errors[0]

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
        asked: Counter[tuple[str, int]] = Counter()

        def fresh(owners: list[int]) -> list[Group]:
            return self._fresh_groups(pl_module, trainer.datamodule.draw(len(owners)), owners, asked)

        refilled = self.dynamic_sampling.refill(
            self._train_groups(pl_module, batch.prompts, asked), fresh, gather, rank()
        )
        with suppress(EngineError):  # the next weights that it is to take tell it again
            self.engine.sleep()
        batch.groups, batch.discarded = refilled.groups, refilled.discarded
        with pl_module.clock("exchange"):  # ranks wait here for the slowest generation
            kept, discarded = gather_lists(facts_of(batch.groups)), gather_lists(facts_of(batch.discarded))
            made = len(batch.groups) + len(batch.discarded)
            reports = gather((made * self.sampling.samples, report_of(self.reward)))
        pl_module.log_dict(self._report(kept, discarded, refilled.refills, pl_module))
        if pl_module.loss.kl.in_reward:
            pl_module.log("reward/kl_penalty", _take_kl_off(pl_module, batch.groups))
        pl_module.log_dict(rollout_metrics(kept + discarded))
        pl_module.log_dict({f"reward/{name}": value for name, value in mean_of_reports(reports).items()})
        self._set_advantages(batch)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: PolicyModule,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Responses and rewards of validation prompts."""
        batch.groups = self.groups(pl_module, batch.prompts, self.validation_sampling, "validation")
        report_of(self.reward)  # what is logged is of training

    def teardown(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """End the engine and the reward's processes."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """End the engine and the reward's processes."""
        self._close()

    def _close(self) -> None:
        self.engine.close()
        close(self.reward)

    def groups(
        self,
        policy: PolicyModule,
        prompts: list[Prompt],
        sampling: Sampling,
        purpose: str,
        asked: Counter[tuple[str, int]] | None = None,
    ) -> list[Group]:
        """A scored group for each prompt of this rank's engine, generated with the policy's newest weights.

        prompts: of all ranks; engines take them in turn, and the first rank of each keeps the groups. asked: how many
        responses to each prompt this step has had already, counted on here.
        """
        asked = Counter() if asked is None else asked
        seeds = self._seeds(prompts, sampling.samples, purpose, policy.rollout_step, asked)
        reward = self.reward if purpose == "train" else verifier_of(self.reward)
        groups, errors = self._try(policy, prompts, sampling, seeds, reward)
        if errors and all(isinstance(error, EngineError) for error in errors):
            if rank() == 0:
                log.error("step %d: %s. It is started again, once", policy.rollout_step, errors[0])
            errors = self._restart()
            if not errors:
                groups, errors = self._try(policy, prompts, sampling, seeds, reward)
        if errors:
            raise errors[0]
        return groups

    def _try(
        self, policy: PolicyModule, prompts: list[Prompt], sampling: Sampling, seeds: list[list[int]], reward: Reward
    ) -> tuple[list[Group], list[RunError]]:
        """One generation with the newest weights, and what it failed of on any rank."""
        clock, layout = policy.clock, self._engines
        if min(gather(self.engine.policy_version)) != policy.policy_version:
            with clock("weight_sync"):
                weights = policy.weights(policy.source.compute_dtype)
                errors = _errors(lambda: self.engine.load_weights(weights, policy.policy_version))
            if errors:
                return [], errors
        groups: list[Group] = []
        own = slice(layout.engine, None, layout.engines)

        def generate() -> None:
            if layout.leads:
                arguments = (self.engine, reward, prompts[own], sampling, seeds[own], clock)
                groups.extend(scored_groups(*arguments, scoring=self.scoring))
            else:
                with clock("generate"):
                    self.engine.generate(prompts[own], sampling, seeds[own])

        errors = _errors(generate)
        return groups, errors

    def _restart(self) -> list[RunError]:
        def restart() -> None:
            self.engine.close()
            self.engine.start()

        return _errors(restart)

    @property
    def _engines(self) -> EngineLayout:
        return EngineLayout(rank(), world_size(), self.engine.tensor_parallel)

    def _seeds(
        self, prompts: list[Prompt], samples: int, purpose: str, step: int, asked: Counter[tuple[str, int]]
    ) -> list[list[int]]:
        """One seed for each response; a prompt that is asked twice in a step gets other responses then."""
        seeds = []
        for prompt in prompts:
            already = asked[prompt.source, prompt.index]
            numbers = range(already, already + samples)
            seeds.append([request_seed(self.seed, purpose, step, prompt.index, number) for number in numbers])
            asked[prompt.source, prompt.index] += samples
        return seeds

    def _train_groups(
        self, policy: PolicyModule, prompts: list[Prompt], asked: Counter[tuple[str, int]]
    ) -> list[Group]:
        groups = self.groups(policy, prompts, self.sampling, "train", asked)
        for group in groups:
            for rollout in group.rollouts:
                rollout.penalty = self.overlong.penalty(rollout.response)
                rollout.in_loss = self.overlong.in_loss(rollout.response)
        return groups

    def _fresh_groups(
        self, policy: PolicyModule, prompts: list[Prompt], owners: list[int], asked: Counter[tuple[str, int]]
    ) -> list[Group]:
        """Groups for the prompts of a refill, spread over all engines and sent to the ranks that lack them."""
        outgoing: list[list[tuple[int, Group]]] = [[] for _ in range(world_size())]
        layout = self._engines
        for turn, group in enumerate(self._train_groups(policy, prompts, asked)):
            number = layout.engine + turn * layout.engines
            outgoing[owners[number]].append((number, group))
        return [group for _, group in sorted(exchange(outgoing), key=itemgetter(0))]

    def _report(
        self, kept: list[GroupFacts], discarded: list[GroupFacts], refills: int, policy: PolicyModule
    ) -> dict[str, float]:
        """Say and count what dynamic sampling did; where nothing is left to learn from, training ends."""
        step, most = policy.rollout_step, self.dynamic_sampling.max_refills
        lacking = sum(not group.has_signal for group in kept)
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
            log.warning("step %d: %d refills leave %d of %d groups without a signal", step, most, lacking, len(kept))
        if not most:
            return {}
        return {
            "rollout/refills": float(refills),
            "rollout/refilled_groups": float(len(discarded)),
            "rollout/unfilled_groups": float(lacking),
        }

    def _set_advantages(self, batch: PromptBatch) -> None:
        rollouts = [(index, rollout) for index, group in enumerate(batch.groups) for rollout in group.rollouts]
        if not rollouts:  # another rank keeps them
            return
        rewards = torch.tensor([rollout.shaped_reward for _, rollout in rollouts], dtype=torch.float32)
        group_ids = torch.tensor([index for index, _ in rollouts])
        for (_, rollout), advantage in zip(rollouts, self.advantage(rewards, group_ids).tolist(), strict=True):
            rollout.advantage = advantage


def _errors(act: Callable[[], None]) -> list[RunError]:
    """Do something on all ranks; returns what it failed of on any of them, there the same for all."""
    own: RunError | None = None
    try:
        act()
    except RunError as error:
        own = error
    return [error for error in gather(own) if error is not None]


def _take_kl_off(policy: PolicyModule, groups: list[Group]) -> float:
    """Returns the mean of what was taken off, over all ranks."""
    policy.fill_log_probs(groups)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    for rollout in rollouts:
        assert rollout.old_log_probs is not None
        assert rollout.ref_log_probs is not None
        rollout.kl_penalty = policy.loss.kl.of_response(rollout.old_log_probs, rollout.ref_log_probs)
    return fmean(gather_lists([rollout.kl_penalty for rollout in rollouts]))
