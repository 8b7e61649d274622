"""Which settings make a run another run, so that `resume=auto` leaves it untouched."""

from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from gmpo.config import resolvers  # noqa: F401  (registers them)
from gmpo.run.folder import save_config
from gmpo.run.resume import differences


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        return compose("train", ["experiment=quickstart", "run.name=test", *overrides])


@pytest.mark.parametrize(
    "override",
    [
        "rollout.async_steps=1",
        "cluster.dtype=bfloat16",
        "run.seed=1",
        "kl.coefficient=0.1",
        "advantage.normalize_by_std=false",
        "policy.gradient_clip=2",
        "+own.setting=1",
    ],
)
def test_a_run_with_another_setting_is_another_run(tmp_path: Path, override: str) -> None:
    save_config(composed(), tmp_path)
    key = override.lstrip("+").partition("=")[0]
    assert [said.partition(" was ")[0] for said in differences(composed(override), tmp_path)].count(key) == 1
    save_config(composed(override), tmp_path)
    assert any(said.startswith(f"{key} was ") for said in differences(composed(), tmp_path))


def test_settings_of_place_and_memory_do_not_matter(tmp_path: Path) -> None:
    save_config(composed(), tmp_path)
    elsewhere = ("run.root=elsewhere", "run.steps=9", "run.validate_every=null", "paths.models=m", "resume=never")
    sizes = ("cluster.cp=2", "cluster.devices=2", "cluster.threads=1", "batch.max_tokens_per_micro_batch=9999")
    kept = (
        "checkpoint.every=3",
        "logger=[]",
        "profile=true",
        "rollout.timeout=9",
        "rollout.engine.gpu_memory_utilization=0.5",
    )
    assert differences(composed(*elsewhere, *sizes, *kept), tmp_path) == []
