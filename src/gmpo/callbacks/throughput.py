"""Times of a step and of its stages."""

from lightning import Trainer

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.parallel.collectives import gather
from gmpo.policy.module import PolicyModule
from gmpo.types import PromptBatch

STAGES = ("weight_sync", "generate", "reward", "exchange", "log_probs", "update")


class ThroughputCallback(OrderedCallback):
    """Logs time/STAGE in seconds, time/step, and response tokens per second of the whole step, over all ranks.

    Times are rank 0's. exchange: its wait for the others' responses, and their transfer between ranks. generate_tail:
    the part of generate, or of prefetching, in which at most a tenth of the responses were left.
    """

    order = 50

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: PolicyModule, outputs: object, batch: PromptBatch, batch_idx: int
    ) -> None:
        """Log the step that just ended."""
        clock = pl_module.state.clock
        seconds = clock.elapsed()
        made = batch.groups + batch.discarded
        tokens = sum(gather(sum(len(rollout.response.token_ids) for group in made for rollout in group.rollouts)))
        pl_module.log_dict({f"time/{stage}": clock.seconds[stage] for stage in STAGES})
        pl_module.log("time/generate_tail", clock.seconds["generate_tail"])
        pl_module.log_dict({"time/step": seconds, "throughput/tokens_per_second": tokens / seconds})
        pl_module.log(
            "step", float(pl_module.state.rollout_step)
        )  # the loggers' axis, instead of Lightning's own count
