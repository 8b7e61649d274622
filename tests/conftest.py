"""Real objects that many tests share: small models in the Hugging Face format, prompts, rollouts."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook
from transformers import (
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

# of these modules, from before they are imported
SHAPED = ("gmpo.objectives", "gmpo.advantages", "gmpo.models", "gmpo.batching", "gmpo.types")
install_import_hook(SHAPED, "shapes.check")

from gmpo.models.tiny import ASSISTANT, USER, character_tokenizer  # noqa: E402
from gmpo.types import Prompt  # noqa: E402

pytest_plugins = ["unexpected_skips"]

# for subprocesses: Lightning and vLLM leave ports and ranks in this process's own, and a job that tests is not a run's
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
ROOT = Path(__file__).resolve().parents[1]

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,  # vLLM on a CPU serves heads of 32 and wider
    "num_key_value_heads": 1,
    "max_position_embeddings": 512,
    "initializer_range": 0.15,  # far from uniform: log-probs that differ from token to token
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}


LONGEST = ("test_equality.py", "test_quickstart.py", "test_slurm.py", "test_recipes_train.py")  # minutes each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: processes take whole files in turn, and what is left in the end should be short."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in slow))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def save(model: torch.nn.Module, folder: Path) -> str:
    model.save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def qwen2_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen2 with tied embeddings."""
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=260, intermediate_size=64, tie_word_embeddings=True, **SMALL)
    return save(Qwen2ForCausalLM(config), tmp_path_factory.mktemp("qwen2"))


@pytest.fixture(scope="session")
def olmo2_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random OLMo 2, which vLLM runs in the code of transformers."""
    torch.manual_seed(0)
    config = Olmo2Config(vocab_size=260, intermediate_size=64, tie_word_embeddings=False, **SMALL)
    return save(Olmo2ForCausalLM(config), tmp_path_factory.mktemp("olmo2"))


@pytest.fixture(scope="session")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen3 with an untied head."""
    torch.manual_seed(0)
    config = Qwen3Config(vocab_size=260, intermediate_size=64, head_dim=32, tie_word_embeddings=False, **SMALL)
    return save(Qwen3ForCausalLM(config), tmp_path_factory.mktemp("qwen3"))


@pytest.fixture(scope="session")
def qwen3_moe_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random Qwen3 mixture of experts: 8 experts, 2 a token, an untied head."""
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=260,
        intermediate_size=64,
        moe_intermediate_size=32,
        num_experts=8,
        num_experts_per_tok=2,
        head_dim=32,
        tie_word_embeddings=False,
        norm_topk_prob=True,
        **SMALL,
    )
    return save(Qwen3MoeForCausalLM(config), tmp_path_factory.mktemp("qwen3_moe"))


def make_prompt(question: str, index: int = 0, answer: str = "4") -> Prompt:
    text = f"{USER}{question}{ASSISTANT}"
    token_ids = character_tokenizer()(text)["input_ids"]
    return Prompt(index, question, text, token_ids, answer, "test")
