"""Console logging: show messages, silence noise."""

import logging
import sys
import warnings

from transformers.utils import logging as transformers_logging

from gmpo.run.secrets import redact

NOISE = (  # warnings that a user cannot act on
    ".*does not have many workers.*",
    ".*`IterableDataset` has `__len__` defined.*",
    ".*overridden `transfer_batch_to_device`.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*torch.distributed.reduce_op.*",
    ".*`srun` command is available.*",  # a run may start without it
    ".*`torch.distributed.all_gather_into_tensor` is deprecated.*",  # vLLM's, between ranks of an engine
    ".*in eval mode at the start of training.*",  # intended: dropout is off
    ".*It is recommended to use `self.log.*sync_dist=True.*",  # metrics are already summed over the ranks
)


class _Screen(logging.Handler):
    """Prints to the current sys.stderr, which a live progress bar replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        print(redact(self.format(record)), file=sys.stderr, flush=True)


def configure_logging(rank: int = 0) -> None:
    """Show the first rank's messages, and only errors of the others."""
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
