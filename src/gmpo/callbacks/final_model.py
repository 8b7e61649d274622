"""Export of the trained policy at the end of a run."""

import logging
import shutil
from pathlib import Path

from lightning import Trainer
from safetensors import SafetensorError
from torch import Tensor

from gmpo.callbacks.ordered import OrderedCallback
from gmpo.models.hugging_face import tokenizer_of, whole_folder, write_hugging_face
from gmpo.parallel.collectives import gather
from gmpo.policy.module import PolicyModule

log = logging.getLogger(__name__)


class FinalModelCallback(OrderedCallback):
    """Saves the trained policy at the end, in the Hugging Face format: vLLM and transformers load it as is."""

    order = 85

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Save the policy; if that fails the run is not finished, and the same command retries from a checkpoint."""
        fault: str | None = None
        try:
            save_hugging_face(pl_module, self.folder)
        except (OSError, SafetensorError) as error:
            fault = f"the trained policy could not be written to {self.folder} ({error})"
        fault = gather(fault)[0]  # the first rank writes
        if fault is not None:
            log.error("%s", fault)
            pl_module.state.stop(f"{fault}: make room, then give the same command again")


def save_hugging_face(policy: PolicyModule, folder: Path) -> None:
    """Write the weights of a policy in training, its config and tokenizer to `folder`, replacing what was there.

    Collective; rank 0 writes. The tokenizer is that of the policy's model; if it can no longer be loaded, the weights
    are saved without it, so that no training is lost for a tokenizer.
    """
    assert policy.model is not None, "configure_model() comes first"
    writes = policy.trainer.is_global_zero
    weights: dict[str, Tensor] = {name: tensor.cpu() for name, tensor in policy.weights() if writes}
    if writes:
        try:
            tokenizer = tokenizer_of(policy.pretrained.path, policy.pretrained.trust_remote_code)
        except ValueError as error:
            log.error("%s is saved without a tokenizer: %s", folder, error)
            tokenizer = None
        with whole_folder(folder) as unfinished:
            write_hugging_face(policy.model, weights, tokenizer, unfinished)
            if folder.is_dir():
                shutil.rmtree(folder)
