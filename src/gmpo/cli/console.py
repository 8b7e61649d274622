"""What a person sees on the screen: messages, and nothing that asks for nothing."""

import logging
import sys
import warnings

from transformers.utils import logging as transformers_logging

from gmpo.run.secrets import redact

NOISE = (  # warnings that ask for nothing a user could do
    ".*does not have many workers.*",
    ".*`IterableDataset` has `__len__` defined.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*torch.distributed.reduce_op.*",
    ".*`srun` command is available.*",  # a run may well start without it
    ".*`torch.distributed.all_gather_into_tensor` is deprecated.*",  # vLLM's, between ranks of an engine
    ".*in eval mode at the start of training.*",  # all of it: dropout is off
    ".*It is recommended to use `self.log.*sync_dist=True.*",  # metrics come summed over the ranks
)


class _Screen(logging.Handler):
    """Prints to what standard error is at the time: a live progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        print(redact(self.format(record)), file=sys.stderr, flush=True)


def configure_logging(rank: int = 0) -> None:
    """Leave the screen to what concerns the user: of several ranks, the first one's messages and everyone's errors."""
    if rank > 0:
        logging.basicConfig(format=f"rank {rank}: %(message)s", level=logging.ERROR, handlers=[_Screen()])
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        transformers_logging.disable_progress_bar()
        return
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=[_Screen()])
    logging.getLogger("gmpo").setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
