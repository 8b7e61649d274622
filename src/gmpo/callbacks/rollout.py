"""The callback that turns prompts into scored rollouts: it joins engine and policy."""

from collections import Counter
from collections.abc import Callable
from statistics import fmean

import torch
from lightning import Callback, Trainer
from torch import Tensor

from gmpo.policy import PolicyModule
from gmpo.rewards import Reward
from gmpo.rollout.engine import Engine, request_seed
from gmpo.types import Group, Prompt, PromptBatch, Response, Rollout, Sampling


class RolloutCallback(Callback):
    """Fills each batch in place: responses, rewards, and for training advantages.

    advantage: rewards float [B] and group ids int [B] -> float [B]. seed: the run's; each request's seed is
    derived from it, so a run can be repeated exactly.
    """

    def __init__(
        self,
        engine: Engine,
        reward: Reward,
        advantage: Callable[[Tensor, Tensor], Tensor],
        sampling: Sampling,
        validation_sampling: Sampling,
        seed: int,
    ) -> None:
        self.engine = engine
        self.reward = reward
        self.advantage = advantage
        self.sampling = sampling
        self.validation_sampling = validation_sampling
        self.seed = seed

    def on_fit_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Start the engine, once the policy stands."""
        with pl_module.clock("start engine"):
            self.engine.start()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Begin a rollout step: G responses to each prompt, rewards, advantages."""
        pl_module.rollout_step += 1
        pl_module.clock.restart()
        self.fill(pl_module, batch, self.sampling, "train")
        self._set_advantages(batch)
        pl_module.log_dict(rollout_metrics(batch.groups))

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: PolicyModule,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Responses and rewards of validation prompts."""
        self.fill(pl_module, batch, self.validation_sampling, "validation")

    def teardown(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """End the engine."""
        self.engine.close()

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """End the engine."""
        self.engine.close()

    def fill(self, policy: PolicyModule, batch: PromptBatch, sampling: Sampling, purpose: str) -> None:
        """Generate with the policy's newest weights and score; `batch.groups` holds the result."""
        clock = policy.clock
        if self.engine.policy_version != policy.policy_version:
            with clock("weight_sync"):
                self.engine.load_weights(policy.weights(), policy.policy_version)
        with clock("generate"):
            seeds = self._seeds(batch.prompts, sampling.samples, purpose, policy.rollout_step)
            responses = self.engine.generate(batch.prompts, sampling, seeds)
        with clock("reward"):
            batch.groups = [
                Group(prompt, [Rollout(r, reward) for r, reward in zip(group, rewards, strict=True)])
                for prompt, group, rewards in zip(batch.prompts, responses, self._score(batch, responses), strict=True)
            ]

    def _seeds(self, prompts: list[Prompt], samples: int, purpose: str, step: int) -> list[list[int]]:
        """One seed for each response; a prompt that stands in the batch twice gets other responses there."""
        drawn: Counter[int] = Counter()
        seeds = []
        for prompt in prompts:
            numbers = range(drawn[prompt.index], drawn[prompt.index] + samples)
            seeds.append([request_seed(self.seed, purpose, step, prompt.index, number) for number in numbers])
            drawn[prompt.index] += samples
        return seeds

    def _score(self, batch: PromptBatch, responses: list[list[Response]]) -> list[list[float]]:
        texts = [response.text for group in responses for response in group]
        answers = [prompt.answer for prompt, group in zip(batch.prompts, responses, strict=True) for _ in group]
        rewards = iter(self.reward.score(texts, answers))
        return [[next(rewards) for _ in group] for group in responses]

    def _set_advantages(self, batch: PromptBatch) -> None:
        rollouts = [(index, rollout) for index, group in enumerate(batch.groups) for rollout in group.rollouts]
        rewards = torch.tensor([rollout.reward for _, rollout in rollouts], dtype=torch.float32)
        group_ids = torch.tensor([index for index, _ in rollouts])
        for (_, rollout), advantage in zip(rollouts, self.advantage(rewards, group_ids).tolist(), strict=True):
            rollout.advantage = advantage


def rollout_metrics(groups: list[Group]) -> dict[str, float]:
    """What the responses of a rollout step were like; lengths in tokens."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards = torch.tensor([rollout.reward for rollout in rollouts], dtype=torch.float32)
    equal = [len({rollout.reward for rollout in group.rollouts}) == 1 for group in groups]
    return {
        "reward/mean": rewards.mean().item(),
        "reward/std": rewards.std(correction=0).item(),
        "rollout/response_length": fmean(len(rollout.response.token_ids) for rollout in rollouts),
        "rollout/truncated_fraction": fmean(rollout.response.truncated for rollout in rollouts),
        "rollout/zero_signal_groups": fmean(equal),
    }
