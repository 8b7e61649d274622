"""What is refused before anything is loaded."""

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir

from gmpo.training import check_machine


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs here")
def test_gpus_that_are_not_here_are_refused() -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", ["experiment=qwen2_5_7b_math", "run.name=x"])
    with pytest.raises(ValueError, match=r"cluster.devices=8 GPUs, and this process sees 0: .* cluster=cpu"):
        check_machine(cfg)
    cfg.cluster.accelerator = "cpu"
    check_machine(cfg)
