"""What a run is for."""

import logging
from pathlib import Path

from lightning import Callback, Trainer
from safetensors import SafetensorError

from gmpo.parallel import gather
from gmpo.policy import PolicyModule
from gmpo.policy.hugging_face import save_hugging_face

log = logging.getLogger(__name__)


class FinalModelCallback(Callback):
    """Saves the trained policy at the end, in the Hugging Face format: vLLM and transformers load it as it is."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Save; where that fails the run is not finished, and the same command tries again from a checkpoint."""
        fault: str | None = None
        try:
            save_hugging_face(pl_module, self.folder)
        except (OSError, SafetensorError) as error:
            fault = f"the trained policy could not be written to {self.folder} ({error})"
        fault = gather(fault)[0]  # the first rank writes
        if fault is not None:
            log.error("%s", fault)
            pl_module.ends_because = pl_module.ends_because or f"{fault}: make room, then give the same command again"
