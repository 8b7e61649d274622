"""A model's files, checked before anything is loaded: in a folder, in the hub's local cache, or on the hub."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import build_hf_headers
from safetensors import SafetensorError, safe_open

CONFIG, ADAPTER = "config.json", "adapter_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
OTHER_WEIGHTS = ("*.bin", "*.safetensors", "*.pt", "*.pth")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
READ_AS_JSON = (
    *("generation_config.json", "tokenizer.json", "vocab.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)
NEEDED = f"{CONFIG}, one of {', '.join(TOKENIZER_FILES)} and model*.safetensors"
ANSWERS_WITHIN = 10.0  # seconds; the hub's time limit
POINTER = b"version https://git-lfs"  # the beginning of a file that git has not downloaded
AGAIN = "copy or download it again"


def local_config(path: str) -> dict[str, Any] | None:
    """Return config.json of a folder or of a model that was downloaded before; None where this machine has none.

    Raises ValueError, naming the file, where it cannot be read.
    """
    file = Path(path, CONFIG) if Path(path).is_dir() else _cached(path, CONFIG)
    return read_json(file) if file is not None and file.is_file() else None


def hub_config(hub_id: str) -> dict[str, Any]:
    """Return config.json of a model on the hub, without downloading anything else.

    Raises ValueError, with the files that a model needs and where to put them, where the hub does not give it.
    """
    try:
        return _from_hub(hub_id, CONFIG)
    except Exception as error:  # whatever the hub library's client raises: it was requests, then httpx
        if getattr(error, "response", None) is not None:  # the hub is there, the file is not
            _refuse_adapter_on_hub(hub_id)
        raise ValueError(
            f"model.path={hub_id} cannot be reached: looked for {NEEDED} in the folder {Path(hub_id).resolve()}, in "
            f"the cache {constants.HF_HUB_CACHE} and on the hub ({reason(error)}). Put these files into a folder and "
            "give it by model=FOLDER, or download the model where there is a network and copy the cache; some need an "
            "account (HF_TOKEN)"
        ) from error


def check_reachable(path: str, trained: bool = False) -> None:
    """Raise ValueError, as `hub_config` does, for a hub id that is neither in the cache nor on a hub that answers.

    trained: also where its config.json shows that it cannot be trained.
    """
    if not Path(path).is_dir() and not is_cached(path):
        config = hub_config(path)
        if trained:
            check_trainable(config, path)


def is_cached(hub_id: str) -> bool:
    """Return whether config and tokenizer of a model on the hub were downloaded before."""
    return _cached(hub_id, CONFIG) is not None and any(_cached(hub_id, name) for name in TOKENIZER_FILES)


def check_model_files(path: str) -> None:
    """Raise ValueError, naming the file and the remedy, where a folder's config or tokenizer cannot be read.

    Weights are not checked, and a path that does not exist is left to the hub.
    """
    check_is_model(path)
    folder = Path(path)
    if not folder.is_dir():
        return
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(
            f"model.path={folder} holds no tokenizer (none of {', '.join(TOKENIZER_FILES)}): save it there with "
            "tokenizer.save_pretrained(FOLDER)"
        )
    for name in READ_AS_JSON:
        if (folder / name).is_file():
            read_json(folder / name)


def check_is_model(path: str) -> None:
    """Raise ValueError for a file, and for a folder that holds no model with its config."""
    check_format(path)
    folder = Path(path)
    if folder.is_dir() and local_config(path) is None:
        raise ValueError(f"model.path={folder} holds no {CONFIG}: it is not a model in the Hugging Face format")


def check_format(path: str) -> None:
    """Raise ValueError for a file, a folder of GGUF files, and a LoRA adapter."""
    folder = Path(path)
    if folder.is_file() or (list(folder.glob("*.gguf")) and not (folder / CONFIG).is_file()):
        kind = "GGUF" if folder.is_dir() or folder.suffix == ".gguf" else "a file"
        raise ValueError(
            f"the model {path} is {kind}, not a folder in the Hugging Face format: give the folder with {NEEDED} that "
            "it was made from"
        )
    if (folder / ADAPTER).is_file():
        raise ValueError(_is_adapter(path, read_json(folder / ADAPTER)))


def check_trainable(config: Mapping[str, Any], path: str) -> None:
    """Raise ValueError for a config.json of weights that cannot be trained: quantized, or of several models."""
    parts = [key for key, value in config.items() if isinstance(value, Mapping) and value.get("model_type")]
    parts = [key for key in parts if key == "text_config"] or parts
    if parts:
        raise ValueError(
            f"the model {path} is made of several: its config.json (model_type={config.get('model_type')}) has "
            f"the text model in {parts[0]} (model_type={config[parts[0]]['model_type']}). Give a text-only checkpoint"
        )
    quantized = config.get("quantization_config")
    if quantized:
        method = quantized.get("quant_method") if isinstance(quantized, Mapping) else quantized
        raise ValueError(
            f"the model {path} has quantized weights (quantization_config in its config.json: {method}), and only "
            "plain ones can be trained: give the original"
        )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold a folder's weights.

    Raises ValueError, naming file and remedy, where there are none or one that the index names is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        places = read_json(folder / INDEX).get("weight_map")
        if not isinstance(places, Mapping) or not places:
            raise ValueError(f"{folder / INDEX} has no weight_map, which says where each weight is: {AGAIN}")
        files = [folder / str(name) for name in sorted(set(places.values()))]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise ValueError(
                f"{folder} is not whole: {INDEX} names {len(files)} files, and {missing[0]} is missing"
                f"{f', with {len(missing) - 1} more' if len(missing) > 1 else ''}: copy or download the model again"
            )
        return files
    if _has_other_weights(folder):
        raise ValueError(
            f"{folder} has no weights that can be read block by block (neither {WEIGHTS} nor {INDEX}): convert what it "
            f"has by AutoModelForCausalLM.from_pretrained(...).save_pretrained(...), or a checkpoint by "
            "`python export.py checkpoint=PATH output=FOLDER`"
        )
    raise ValueError(f"{folder} has no weights (neither {WEIGHTS} nor {INDEX}): copy or download the model again")


def check_weights(folder: Path, trained: bool) -> None:
    """Raise ValueError, naming the file, where a folder's weights are missing, cut off or damaged; reads only headers.

    trained: they must also be in safetensors, which an engine alone does not require.
    """
    if not trained and not any((folder / name).is_file() for name in (WEIGHTS, INDEX)) and _has_other_weights(folder):
        return
    for file in weight_files(folder):
        tensors_in(file)


def tensors_in(file: Path) -> list[str]:
    """Return the names of the tensors in a safetensors file; raises ValueError where it is cut off or damaged."""
    try:
        with safe_open(str(file), "np") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        if _begins_with(file, POINTER):
            raise ValueError(f"{file} is git's pointer to a file, not the file: run `git lfs pull` there") from error
        raise ValueError(f"{file} cannot be read ({error}): copy or download the model again") from error


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raises ValueError, with the file's name, where there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if _begins_with(file, POINTER):
            raise ValueError(f"{file} is git's pointer to a file, not the file: run `git lfs pull` there") from error
        raise ValueError(f"{file} is not JSON ({reason(error)}): {AGAIN}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds a {type(found).__name__} and not an object in JSON: {AGAIN}")
    return found


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def _has_other_weights(folder: Path) -> bool:
    return any(True for pattern in OTHER_WEIGHTS for _ in folder.glob(pattern))


def _is_adapter(path: str, config: Mapping[str, Any]) -> str:
    base = config.get("base_model_name_or_path") or "its base model"
    return (
        f"the model {path} is a LoRA adapter of {base}: merge it first (PeftModel.from_pretrained(BASE, ADAPTER)"
        ".merge_and_unload().save_pretrained(FOLDER)) and give that folder"
    )


def _refuse_adapter_on_hub(hub_id: str) -> None:
    try:
        config = _from_hub(hub_id, ADAPTER)
    except Exception:  # noqa: BLE001  (as above: it is no adapter either)
        return
    raise ValueError(_is_adapter(hub_id, config))


def _from_hub(hub_id: str, file: str) -> dict[str, Any]:
    answer = get_session().get(
        hf_hub_url(hub_id, file), headers=build_hf_headers(), timeout=ANSWERS_WITHIN, follow_redirects=True
    )
    answer.raise_for_status()
    return answer.json()


def _begins_with(file: Path, start: bytes) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(start)) == start
    except OSError:
        return False


def _cached(hub_id: str, file: str) -> Path | None:
    try:
        found = try_to_load_from_cache(hub_id, file)
    except ValueError:  # not a hub id
        return None
    return Path(found) if isinstance(found, str) else None
