"""What is refused before anything is loaded."""

import pytest
import torch
from conftest import ROOT
from hydra import compose, initialize_config_dir

from gmpo.training import check_machine, check_places


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs here")
def test_gpus_that_are_not_here_are_refused() -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", ["experiment=qwen2_5_7b_math", "run.name=x"])
    with pytest.raises(ValueError, match=r"cluster.devices=8 GPUs, and this process sees 0: .* cluster=cpu"):
        check_machine(cfg)
    cfg.cluster.accelerator = "cpu"
    check_machine(cfg)


@pytest.mark.parametrize("address", ["http://server:5000", "https://server", "postgresql://user@server/base"])
def test_a_logger_may_write_to_a_server(address: str) -> None:
    settings = [
        "experiment=quickstart",
        "run.name=x",
        "run.folder=runs/x",
        "logger=mlflow",
        f"logger.mlflow.tracking_uri='{address}'",
    ]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        check_places(compose("train", settings))


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite:////tmp/x/mlflow.db", "file:///tmp/x", "mlruns"])
def test_a_database_lies_in_the_runs_folder(uri: str) -> None:
    settings = ["experiment=quickstart", "run.name=x", "run.folder=runs/x", "logger=mlflow"]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        check_places(compose("train", settings))
        with pytest.raises(ValueError, match=r"logger.mlflow.tracking_uri leads to .*, outside the run's folder"):
            check_places(compose("train", [*settings, f"logger.mlflow.tracking_uri='{uri}'"]))
