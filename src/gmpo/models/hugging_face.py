"""The policy as a folder in the Hugging Face format."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from gmpo.models.files import TOKENIZER_FILES, reason


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, renamed at the end: a killed process leaves no partial folder.

    Its files get the umask's permissions: safetensors writes them for the owner alone.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f"unfinished-{secrets.token_hex(4)}"
    unfinished.mkdir()
    mode = unfinished.stat().st_mode & 0o666
    try:
        yield unfinished
        for path in unfinished.rglob("*"):
            if path.is_file():
                path.chmod(mode)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_hugging_face(
    model: PreTrainedModel, weights: dict[str, Tensor], tokenizer: PreTrainedTokenizerBase | None, folder: Path
) -> None:
    """Write weights under their published names, config, tokenizer and generation config.

    `weights` is emptied in the process. The generation config is the model's original one: `save_pretrained` refuses
    values of some published models, such as a temperature without do_sample. Where it has no end or padding token, it
    gets the tokenizer's.
    """
    generation = deepcopy(model.generation_config)
    if tokenizer is not None:
        end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        generation.eos_token_id = end if generation.eos_token_id is None else generation.eos_token_id
        for padding in (pad, end):
            generation.pad_token_id = padding if generation.pad_token_id is None else generation.pad_token_id
        tokenizer.save_pretrained(folder)
    as_it_came, model.generation_config = model.generation_config, GenerationConfig()
    model.save_pretrained(folder, state_dict=weights)
    model.generation_config = as_it_came
    generation.to_json_file(folder / "generation_config.json")


def tokenizer_of(source: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    folder = Path(source)
    if folder.is_dir() and not any(
        (folder / name).is_file() for name in TOKENIZER_FILES
    ):  # transformers would make one up
        raise ValueError(unusable(source, "tokenizer", FileNotFoundError(f"none of {', '.join(TOKENIZER_FILES)}")))
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers package raises plain ones
        raise ValueError(unusable(source, "tokenizer", error)) from error


def unusable(source: str, what: str, error: Exception) -> str:
    return (
        f"{source} has no {what} that can be loaded ({reason(error)}): give a folder in the Hugging Face format, or "
        "the id of a model that the hub has and this machine can reach, by base_model=PATH"
    )
