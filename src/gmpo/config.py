"""What a composed config must satisfy before anything heavy is imported or started."""

from importlib.util import find_spec
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

GROUP_RELATIVE = ("gmpo.advantages.GroupNorm", "gmpo.advantages.LeaveOneOut")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")

OmegaConf.register_new_resolver("sum", lambda *numbers: sum(numbers), replace=True)


def check(cfg: DictConfig) -> None:
    """Raise ValueError, naming the value and the remedy, for what does not go together."""
    _check_complete(cfg)
    _check_batch(cfg)
    _check_lengths(cfg)
    _check_packages(cfg)
    _check_model_folder(cfg)


def _check_complete(cfg: DictConfig) -> None:
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ValueError(f"no value for {', '.join(missing)}: set each by key=value, or choose an experiment that does")


def _check_batch(cfg: DictConfig) -> None:
    batch = cfg.batch
    for name, value in (("run.steps", cfg.run.steps), *((f"batch.{key}", value) for key, value in batch.items())):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value} must be a whole number of at least 1")
    steps, rest = divmod(batch.prompts, batch.mini_batch_prompts)
    if rest:
        raise ValueError(
            f"batch.mini_batch_prompts={batch.mini_batch_prompts} does not divide batch.prompts={batch.prompts}: "
            f"{batch.prompts} = {steps} x {batch.mini_batch_prompts} + {rest}. "
            f"Choose one of {', '.join(map(str, divisors(batch.prompts)))}"
        )
    if batch.group_size < 2 and cfg.advantage._target_ in GROUP_RELATIVE:
        raise ValueError(
            f"batch.group_size={batch.group_size} with the group-relative advantage {cfg.advantage._target_}: "
            "a single response has nothing to be compared with and every advantage would be 0. "
            "Set batch.group_size to 2 or more"
        )


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    return [d for d in range(1, number + 1) if number % d == 0]


def _check_lengths(cfg: DictConfig) -> None:
    longest = cfg.data.max_prompt_tokens + cfg.sampling.max_tokens
    if longest > cfg.batch.max_tokens_per_micro_batch:
        raise ValueError(
            f"data.max_prompt_tokens={cfg.data.max_prompt_tokens} + sampling.max_tokens={cfg.sampling.max_tokens} "
            f"= {longest} tokens do not fit batch.max_tokens_per_micro_batch={cfg.batch.max_tokens_per_micro_batch}: "
            f"raise it to at least {longest}"
        )


def _check_packages(cfg: DictConfig) -> None:
    package = cfg.rollout.requires
    if find_spec(package) is None:
        raise ValueError(
            f"this rollout needs the package {package}, which is not installed: run `make setup` for a CPU or "
            "`pip install 'gmpo[gpu]'` for a GPU, or generate with rollout=transformers"
        )


def _check_model_folder(cfg: DictConfig) -> None:
    if cfg.model.path is None:
        return  # the project makes this model itself
    folder = Path(cfg.model.path)
    if not folder.exists():
        if cfg.model.path.startswith((".", "/", "~")):
            raise ValueError(f"model.path={cfg.model.path} does not exist; give a folder or an id on the hub")
        return  # an id on the hub
    if not (folder / "config.json").is_file():
        raise ValueError(f"model.path={folder} holds no config.json: it is not a model in the Hugging Face format")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(
            f"model.path={folder} holds no tokenizer (none of {', '.join(TOKENIZER_FILES)}): save it there with "
            "tokenizer.save_pretrained(FOLDER)"
        )
