"""`python export.py` as a user types it: what it writes, prints and refuses."""

import os
import subprocess
from functools import partial
from pathlib import Path

import forked
import pytest
from conftest import ROOT
from small_training import fit, module
from transformers import AutoModelForCausalLM, AutoTokenizer


def export(*overrides: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return forked.run("export.py", *overrides, folder=cwd, environment=forked.USUAL | {"HF_HUB_OFFLINE": "1"})


@pytest.fixture(scope="module")
def run(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a checkpoint, under a name of the user's own."""
    folder = tmp_path_factory.mktemp("run")
    fit(module(qwen2_folder)).trainer.save_checkpoint(folder / "checkpoints" / "step=1")
    return folder


def test_a_run_is_exported_and_one_line_says_so(run: Path, qwen2_folder: str, tmp_path: Path) -> None:
    done = export(f"checkpoint={run}", "output=out", "dtype=bfloat16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    parameters = AutoModelForCausalLM.from_pretrained(qwen2_folder).num_parameters()
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'out'}: {parameters:,} parameters, bfloat16, 0.1 MB, from {run}")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").num_parameters() == parameters
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template


@pytest.mark.slow
def test_a_path_with_an_equals_sign(run: Path, tmp_path: Path) -> None:
    done = export(f'checkpoint="{run}/checkpoints/step=1"', f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "float64" in done.stdout


slow = partial(pytest.param, marks=pytest.mark.slow)  # torch is imported


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], ["no value for checkpoint and output", "python export.py checkpoint=PATH output=FOLDER"]),
        slow(["checkpoint=/nowhere", "output=out"], ["/nowhere does not exist", "a run's folder"]),
        slow(["checkpoint=RUN", "output=full"], ["output=full exists", "nothing is overwritten"]),
        slow(["checkpoint=RUN", "output=out", "base_model=nobody/nothing"], ["nobody/nothing has no config", "hub"]),
        (["checkpoint=RUN", "output=out", "model=tiny"], ["Could not override 'model'"]),
    ],
)
def test_bad_input_is_one_clear_error(run: Path, tmp_path: Path, overrides: list[str], said: list[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("kept")
    done = export(*(override.replace("RUN", str(run)) for override in overrides), cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["full"], "nothing is left behind"


def test_help_names_every_key() -> None:
    text = export("--help").stdout
    for key in ("checkpoint", "output", "base_model", "dtype"):
        assert f"\n{key} " in text
    assert "not model=..." in text
    assert "python export.py checkpoint=runs/quickstart output=exported" in text
