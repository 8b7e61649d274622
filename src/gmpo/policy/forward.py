"""Log-probs of micro-batches with the settings of a run."""

from dataclasses import dataclass

from torch.distributed import ProcessGroup
from transformers import PreTrainedModel

from gmpo.models.log_probs import Values, response_log_probs
from gmpo.types import MicroBatch


@dataclass(frozen=True)
class Forward:
    """A model's log-probs of micro-batches; the arguments are those of `response_log_probs`."""

    model: PreTrainedModel
    temperature: float
    packed: bool
    cp_group: ProcessGroup | None
    max_logits_per_chunk: int | None

    def __call__(self, batch: MicroBatch, with_entropy: bool = False) -> Values:
        """Return the log-probability of each response token, and on request the entropy of its distribution."""
        return response_log_probs(
            self.model, batch, self.temperature, with_entropy, self.packed, self.cp_group, self.max_logits_per_chunk
        )
