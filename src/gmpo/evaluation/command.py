"""The evaluate command: from a composed config to an evaluation, and its printed results."""

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Column, Table

from gmpo.checkpoint.atomic import write_atomically
from gmpo.cli.console import configure_logging
from gmpo.config import vocabulary_size
from gmpo.data.dataset import check_names
from gmpo.data.prompts import PromptMaker
from gmpo.evaluation.evaluate import Evaluation, Results
from gmpo.models.files import check_reachable
from gmpo.models.tokenizer import load_tokenizer
from gmpo.rewards import as_reward
from gmpo.types import Sampling

SETTINGS = "settings.json"
WIDE = 160  # columns, where no terminal gives a number
SHORT = {"truncated_fraction": "truncated", "response_length": "tokens"}  # columns of the table
WEIGHTS = (".safetensors", ".bin")
EVERY = 10.0  # seconds between progress lines


def prepare(cfg: DictConfig) -> Evaluation:
    """Instantiate a config; a user's mistakes fail here, before an engine starts."""
    configure_logging()
    torch.set_num_threads(cfg.cluster.threads)
    if cfg.model.path is None:
        cfg.model.path = instantiate(cfg.model.make)
    check_reachable(cfg.model.path)
    data = cfg.data
    tokenizer = load_tokenizer(cfg.model.path, cfg.model.trust_remote_code)
    maker = PromptMaker(
        *(tokenizer, data.template, data.max_prompt_tokens, data.long_prompts, data.system, data.suffix),
        chat_template_arguments=instantiate(data, _convert_="all")["chat_template_arguments"],
        vocabulary=vocabulary_size(cfg),
    )
    benchmarks = instantiate(cfg.benchmark, _convert_="all")
    sampling = instantiate(cfg.sampling, _convert_="all")
    check_names(benchmarks, "benchmark")
    prompts = [prompt for dataset in benchmarks.values() for prompt in maker.prompts(dataset, "validation", data.limit)]
    return Evaluation(
        engine=instantiate(cfg.rollout.engine),
        reward=as_reward(instantiate(cfg.reward)),
        prompts=prompts,
        samples=sampling.pop("samples"),
        sampling=Sampling(**sampling),
        seed=cfg.run.seed,
        folder=open_folder(cfg.output, Path(cfg.run.root, "evaluations"), settings_of(cfg)),
        pass_k=list(cfg.pass_k),
        on_progress=Progress(),
    )


def settings_of(cfg: DictConfig) -> dict[str, object]:
    """Return the settings that a response and its score depend on, besides the problem and the response's number."""
    sampling, reward = (OmegaConf.to_container(cfg[section], resolve=True) for section in ("sampling", "reward"))
    assert isinstance(sampling, dict)
    del sampling["samples"]  # a larger number extends an earlier evaluation
    if not sampling["stop"]:  # so that evaluations from before stop strings existed resume
        del sampling["stop"]
    assert isinstance(reward, dict)
    reward.pop("processes", None)  # changes no score
    model, overrides = Path(cfg.model.path), OmegaConf.to_container(cfg.model.overrides, resolve=True)
    return {
        "model": str(model.resolve() if model.is_dir() else model),
        "weights": weights_fingerprint(model),
        "engine": cfg.rollout.engine._target_,
        "dtype": cfg.cluster.dtype,
        "sampling": sampling,
        "reward": reward,
        "seed": cfg.run.seed,
        **({"overrides": overrides} if overrides else {}),
    }


def weights_fingerprint(model: Path) -> str:
    """Return a text that changes when a model folder's weights are rewritten; empty for a model on the hub."""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(model.glob("*")) if p.suffix in WEIGHTS]
    return _short_hash(files) if files else ""


def open_folder(output: str | None, root: Path, settings: Mapping[str, object]) -> Path:
    """Return the evaluation's folder, new or of the same settings; raises ValueError where it holds anything else."""
    model = "-".join(Path(str(settings["model"])).parts[-2:]).strip("/.")
    folder = Path(output) if output is not None else root / f"{model}-{_short_hash(settings)}"
    file = folder / SETTINGS
    try:
        found = json.loads(file.read_text()) if file.exists() else None
        if found is None and folder.exists() and any(folder.iterdir()):
            raise ValueError(f"output={folder} holds something other than an evaluation; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        if found is None:
            with write_atomically(file) as whole:
                whole.write(json.dumps(settings, indent=2) + "\n")
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"output={folder} cannot be used ({error}); choose another folder") from error
    differing = [key for key in settings if found is not None and found.get(key) != settings[key]]
    if found is not None and differing:
        changes = ", ".join(f"{key} {found.get(key)} there and {settings[key]} here" for key in differing)
        raise ValueError(f"output={folder} holds an evaluation with other settings ({changes}); choose another folder")
    return folder


class Progress:
    """Progress lines with the number of finished responses."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, made: int, of: int) -> None:
        """Count a response; called after each."""
        if time.monotonic() - self._last > EVERY or made == of:
            self._last = time.monotonic()
            print(f"{made}/{of} responses", file=sys.stderr, flush=True)


def print_results(results: Results, folder: Path) -> None:
    """Print the table, a row for each benchmark."""
    names = list(dict.fromkeys(name for own in results.values() for name in own))
    table = Table(Column("benchmark", no_wrap=True), *(SHORT.get(name, name) for name in names))
    for benchmark, own in results.items():
        table.add_row(benchmark, *(_shown(name, own.get(name)) for name in names))
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(table)
    console.print(f"responses and results: {folder}", highlight=False, soft_wrap=True)


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if name == "problems" else f"{value:.1f}" if name == "response_length" else f"{value:.3f}"


def _short_hash(value: object) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=4).hexdigest()
