"""What a run is for."""

from pathlib import Path

from lightning import Callback, Trainer

from gmpo.policy import PolicyModule
from gmpo.policy.hugging_face import save_hugging_face


class FinalModelCallback(Callback):
    """Saves the trained policy at the end, in the Hugging Face format: vLLM and transformers load it as it is."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_end(self, trainer: Trainer, pl_module: PolicyModule) -> None:
        """Save."""
        save_hugging_face(pl_module, self.folder)
