"""The first half of a rollout step: prompts become rollouts with advantages."""

from typing import Any

from lightning import Trainer

from gmpo.callbacks.kl_penalty import penalize_kl
from gmpo.callbacks.ordered import OrderedCallback
from gmpo.callbacks.rollout_report import RolloutReport
from gmpo.parallel.collectives import gather, rank
from gmpo.policy.module import PolicyModule
from gmpo.rewards import Overlong, Reward, report_of
from gmpo.rollout import DynamicSampling, Scoring
from gmpo.rollout.batch_advantages import Advantage, BatchAdvantages
from gmpo.rollout.collector import Collector, GroupSampling
from gmpo.rollout.supervised import Supervised
from gmpo.types import Group, PromptBatch, Sampling, Stage


class RolloutCallback(OrderedCallback):
    """Fills each batch in place: responses, rewards, and in training advantages.

    Training uses the reward, validation its verifier. Refills and validation wait for the newest weights.

    Args:
        samples, validation_samples: responses to each prompt. advantage: as in `BatchAdvantages`.
        seed: the run's; each request's seed is derived from it, so a run can be repeated exactly.
        async_steps: 1 generates the next step's responses during this one's update, from weights one step old; the
            engine must run in a process of its own. Checkpoints hold these responses.
    """

    order = 30  # later callbacks see the groups

    def __init__(
        self,
        engine: Supervised,
        reward: Reward,
        advantage: Advantage,
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
            raise ValueError(f"rollout.async_steps={async_steps} must be 0 or 1 (rollout steps generated ahead)")
        self.collector = Collector(engine, reward, overlong, seed, scoring, prefetches=async_steps == 1)
        self.training = GroupSampling(Stage.TRAIN, sampling, samples)
        self.validation = GroupSampling(Stage.VALIDATION, validation_sampling, validation_samples)
        self.dynamic_sampling = dynamic_sampling
        self.advantages = BatchAdvantages(advantage)

    def state_dict(self) -> dict[str, Any]:
        """Return the prefetched responses and the expected lengths."""
        return self.collector.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collector.load_state_dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """Attach the collector to the run's state."""
        self.collector.attach(pl_module.state)

    def on_fit_start(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Start the engine, after the policy is loaded."""
        with pl_module.state.clock("start engine"):
            self.collector.engine.start()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PolicyModule, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Fill in the groups of this rank's engine: G responses to each prompt, rewards, refills, advantages."""
        state = pl_module.state
        if state.stop_reason:  # by a callback, between two steps
            return
        state.begin_step()
        self.collector.engine.sync(pl_module)
        first = self.collector.first_groups(batch.prompts, self.training)

        def fresh(owners: list[int]) -> list[Group]:
            return self.collector.fresh_groups(trainer.datamodule.draw(len(owners)), owners, self.training, first.asked)

        refilled = self.dynamic_sampling.refill(first.groups, fresh, gather, rank())
        batch.groups, batch.discarded = refilled.groups, refilled.discarded
        report = RolloutReport(state, self.dynamic_sampling.max_refills)
        report.gather(first, refilled, self.training.samples, self.collector.reward)
        report.check_signal(pl_module.loss.learns_without_rewards)
        self.collector.lengths.learn(report.lengths())
        self._release_engine(trainer, pl_module)
        pl_module.log_dict(report.metrics() | penalize_kl(pl_module, batch.groups))
        self.advantages.assign(batch.groups)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Wait for the prefetched responses: nothing is under way between two steps."""
        if not pl_module.state.stop_reason:
            self.collector.wait()

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: PolicyModule,
        batch: PromptBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Fill in responses and rewards of validation prompts."""
        self.collector.engine.sync(pl_module)
        batch.groups = self.collector.groups(batch.prompts, self.validation)
        report_of(self.collector.reward)  # dropped: only training's is logged

    def teardown(self, trainer: Trainer, pl_module: PolicyModule, stage: str) -> None:
        """End the engine and the reward's processes."""
        self.collector.close()

    def on_exception(self, trainer: Trainer, pl_module: PolicyModule, exception: BaseException) -> None:
        """End the engine and the reward's processes."""
        self.collector.close()

    def _release_engine(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Prefetch the next step's responses, or put the engine to sleep."""
        if not self.collector.prefetches:
            self.collector.engine.sleep()
        elif pl_module.state.rollout_step < trainer.datamodule.steps and not pl_module.state.stop_reason:
            self.collector.prefetch(trainer.datamodule.peek(), self.training)
