"""Loading of a model's tokenizer."""

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from gmpo.models.files import reason


def load_tokenizer(path: str, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Return the model's tokenizer; raises ValueError where neither a folder nor the hub has one."""
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except Exception as error:  # the tokenizers package raises plain ones
        raise ValueError(
            f"model.path={path} has no tokenizer that can be loaded ({reason(error)}): give a folder in the Hugging "
            "Face format, or the id of a model that the hub has and this machine can reach"
        ) from error


def padding_id(tokenizer: PreTrainedTokenizerBase, vocabulary: int | None) -> int:
    """Return the id that batches are padded with: any in the vocabulary will do, since padding is never attended to."""
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None and (vocabulary is None or token_id < vocabulary):
            return token_id
    return 0
