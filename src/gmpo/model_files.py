"""A model's files before anything is loaded: in a folder, in the hub's cache on this machine, or on the hub."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_session, hf_hub_url, try_to_load_from_cache
from huggingface_hub.utils import build_hf_headers

CONFIG = "config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
NEEDED = f"{CONFIG}, one of {', '.join(TOKENIZER_FILES)} and model*.safetensors"
ANSWERS_WITHIN = 10.0  # seconds, of the hub


def local_config(path: str) -> dict[str, Any] | None:
    """config.json of a folder, or of a model that was downloaded before; None where this machine has none."""
    file = Path(path, CONFIG) if Path(path).is_dir() else _cached(path, CONFIG)
    return json.loads(file.read_text()) if file is not None and file.is_file() else None


def hub_config(hub_id: str) -> dict[str, Any]:
    """config.json of a model on the hub, without downloading anything else.

    Raises ValueError, with the files that a model needs and where to put them, where the hub does not give it.
    """
    try:
        answer = get_session().get(
            hf_hub_url(hub_id, CONFIG), headers=build_hf_headers(), timeout=ANSWERS_WITHIN, follow_redirects=True
        )
        answer.raise_for_status()
        return answer.json()
    except Exception as error:  # of whatever client the hub's library has: it was requests, then httpx
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"model.path={hub_id} cannot be reached: looked for {NEEDED} in the folder {Path(hub_id).resolve()}, in "
            f"the cache {constants.HF_HUB_CACHE} and on the hub ({reason}). Put these files into a folder and give it "
            "by model=FOLDER, or download the model where there is a network and copy the cache; some need an account "
            "(HF_TOKEN)"
        ) from error


def check_reachable(path: str) -> None:
    """Raise ValueError, as `hub_config` does, for a hub id that is neither in the cache nor on a hub that answers."""
    if not Path(path).is_dir() and not is_cached(path):
        hub_config(path)


def is_cached(hub_id: str) -> bool:
    """Whether config and tokenizer of a model on the hub were downloaded before."""
    return _cached(hub_id, CONFIG) is not None and any(_cached(hub_id, name) for name in TOKENIZER_FILES)


def _cached(hub_id: str, file: str) -> Path | None:
    try:
        found = try_to_load_from_cache(hub_id, file)
    except ValueError:  # no hub id
        return None
    return Path(found) if isinstance(found, str) else None
