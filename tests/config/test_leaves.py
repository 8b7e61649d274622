"""Every key that is no text refuses a word, in one sentence with the key, the value and what is expected."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from composing import CHOICES, EXPERIMENTS, composed
from conftest import ENVIRONMENT, ROOT
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gmpo.config import check_evaluation, check_export, check_recipe, check_responses
from gmpo.config.schema import OF_EVALUATION, OF_EXPORT, OF_RESPONSES, OF_TRAINING, find_row

CHECKS = {
    "train": (check_recipe, OF_TRAINING),
    "plan": (check_recipe, OF_TRAINING),
    "evaluate": (check_evaluation, OF_EVALUATION),
    "export": (check_export, OF_EXPORT),
    "responses": (check_responses, OF_RESPONSES),
}
NEEDS = {
    "export": ["checkpoint=a", "output=b"],
    "responses": ["run=a"],
    "model=local": ["model.path=some/model"],
    "reward=isolated": ["reward.reward._target_=a.Reward"],
}


def leaves(cfg: DictConfig, place: str = "") -> Iterator[tuple[str, Any]]:
    """Each key that is no part, with its value; None where it refers to what is not there yet."""
    for key in cfg:
        name = f"{place}{key}"
        if OmegaConf.is_missing(cfg, key) or str(key).startswith("_"):  # Hydra's own, as _target_
            continue
        try:
            value = cfg[key]
        except OmegaConfBaseException:
            value = None
        if isinstance(value, DictConfig) and not OmegaConf.is_interpolation(cfg, key):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def is_text(name: str, value: Any, config: str) -> bool:
    """Whether a word is a value that a key may have: a text, or null in the place of one."""
    if isinstance(value, str):
        return True
    row = find_row(name, CHECKS[config][1])
    return value is None and (row is None or row.kind.holds("banana"))


def not_text(cfg: DictConfig, config: str = "train") -> list[str]:
    """The keys that are to refuse a word."""
    return [name for name, value in leaves(cfg) if not is_text(name, value, config)]


def not_refused(cfg: DictConfig, names: Iterable[str], config: str = "train") -> list[str]:
    """Those of the keys that take a word, or refuse it in other words than one sentence about it."""
    wrong = []
    for name in names:
        changed = deepcopy(cfg)
        OmegaConf.update(changed, name, "banana")
        try:
            CHECKS[config][0](changed)
            wrong.append(f"{name}: taken")
        except ValueError as error:
            if f"{name}=banana " not in str(error) or "\n" in str(error):
                wrong.append(f"{name}: {error}")
    return wrong


def choices() -> list[str]:
    """Choices of groups whose keys a training has."""
    return [choice.replace("/", "=") for choice in CHOICES if not choice.startswith(("paths", "launcher"))]


def test_every_experiment() -> None:
    seen: set[str] = set()
    for experiment in ("quickstart", *EXPERIMENTS):
        cfg = composed(f"experiment={experiment}")
        new = [name for name in not_text(cfg) if name not in seen]
        assert not_refused(cfg, new) == []
        seen |= set(new)
    assert len(seen) > 100


@pytest.mark.parametrize("choice", choices())
def test_every_choice_of_a_group(choice: str) -> None:
    cfg, group = composed(choice, *NEEDS.get(choice, [])), choice.partition("=")[0]
    assert not_refused(cfg, [name for name in not_text(cfg) if name.startswith(f"{group}.")]) == []


@pytest.mark.parametrize("config", ["plan", "evaluate", "export", "responses"])
def test_every_other_command(config: str) -> None:
    cfg = composed(*NEEDS.get(config, []), config=config)
    training = set(not_text(composed()))
    assert not_refused(cfg, [name for name in not_text(cfg, config) if name not in training], config) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("train", ["experiment=quickstart", "batch.prompts=banana"]),
        ("train", ["experiment=quickstart", "objective.length_normalize=banana"]),
        ("plan", ["experiment=qwen2_5_7b_math", "cluster.speed.tflops=banana"]),
        ("evaluate", ["data.limit=banana"]),
    ],
)
def test_the_commands_refuse_a_word_before_torch_is_imported(script: str, words: list[str]) -> None:
    without_torch = "import runpy, sys; sys.modules['torch'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", f"import sys; sys.argv[:1] = ['{script}.py']; {without_torch}", *words]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {words[-1]} must be ")
    assert done.stderr.count("\n") == 1
