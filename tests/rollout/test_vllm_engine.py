"""The real vLLM engine: one for each model, shared by all tests of the session."""

import math
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from conftest import make_prompt
from engine_checks import check_handing_over, check_stops, generate, perturbed, poisoned, trainer_log_probs
from transformers import Olmo2Model

from gmpo.models.tiny import character_tokenizer
from gmpo.rollout.transformers import TransformersEngine
from gmpo.rollout.vllm import VLLMEngine
from gmpo.run.errors import EngineError
from gmpo.types import Sampling

pytestmark = [pytest.mark.vllm, pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")]

# longer than the block of 32 tokens that the prefix cache keeps
LONG = [
    make_prompt("a long question, twice the size of a block of the cache: what is 1+1 and " + q, i)
    for i, q in enumerate("123456")
]
SAMPLING = Sampling(max_tokens=16)


def started(folder: str) -> VLLMEngine:
    engine = VLLMEngine(
        folder,
        "float32",
        256,
        64,
        kv_cache_gib=1,
        gpu_memory_utilization=0.3,
        max_num_batched_tokens=512,
        block_size=32,
    )
    engine.start()
    return engine


@pytest.fixture(scope="module")
def engine(qwen2_folder: str) -> Iterator[VLLMEngine]:
    engine = started(qwen2_folder)
    yield engine
    engine.close()


def check_syncs(engine: VLLMEngine, folder: str) -> None:
    stale = generate(engine, LONG, SAMPLING, 3)
    for step in range(3):  # the CPU build packs weights anew at each load, and must not skip the second
        model = perturbed(folder, seed=step)
        assert trainer_log_probs(model, LONG, stale, 1.0).gap > 0.05  # old weights would be seen
        engine.load_weights(model.named_parameters(), policy_version=step + 1)
        stale = generate(engine, LONG, SAMPLING, 3)
        assert trainer_log_probs(model, LONG, stale, 1.0).gap < 1e-5
        assert engine.policy_version == step + 1


def test_after_each_sync_engine_and_trainer_agree(qwen2_folder: str, engine: VLLMEngine) -> None:
    check_syncs(engine, qwen2_folder)


def test_the_temperature_is_in_the_log_probs(qwen2_folder: str, engine: VLLMEngine) -> None:
    model = perturbed(qwen2_folder, seed=9)
    engine.load_weights(model.named_parameters(), 9)
    sampling = Sampling(max_tokens=16, temperature=0.6)
    responses = generate(engine, LONG, sampling, 3)
    assert trainer_log_probs(model, LONG, responses, temperature=0.6).gap < 1e-5
    assert trainer_log_probs(model, LONG, responses, temperature=1.0).gap > 0.05


def test_a_seed_decides_the_response_whatever_else_is_in_the_batch(engine: VLLMEngine) -> None:
    together = generate(engine, LONG, SAMPLING, 3)
    alone = [generate(engine, [p], SAMPLING, 3)[0] for p in reversed(LONG)]
    assert alone[::-1] == together
    assert len({tuple(r.token_ids) for group in together for r in group}) > len(LONG)


def test_more_prompt_tokens_than_one_forward_pass_takes(engine: VLLMEngine) -> None:
    many = [make_prompt(f"what is {i} plus {i}, and what is it times {i}?", i) for i in range(60)]
    assert sum(len(p.token_ids) for p in many) > 4 * engine.max_num_batched_tokens
    responses = generate(engine, many, Sampling(max_tokens=4))
    assert [len(group) for group in responses] == [1] * 60


def test_a_response_ends_with_the_end_token_or_is_truncated(engine: VLLMEngine) -> None:
    sampling = Sampling(max_tokens=100)
    responses = [r for g in generate(engine, LONG, sampling, 16) for r in g]
    assert {r.truncated for r in responses} == {True, False}
    assert all(r.truncated == (r.token_ids[-1] != 1) for r in responses)


def test_responses_are_handed_over_as_they_are_finished(engine: VLLMEngine) -> None:
    lengths = check_handing_over(engine, LONG, Sampling(max_tokens=100), 8)
    assert lengths == sorted(lengths), "all began together: the short ones came first"
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_ends_at_a_stop_string(engine: VLLMEngine, temperature: float) -> None:
    assert check_stops(engine, LONG, Sampling(max_tokens=100, temperature=temperature), 8) >= 1


def test_both_engines_end_at_the_same_token(engine: VLLMEngine, qwen2_folder: str) -> None:
    model = perturbed(qwen2_folder, seed=4)
    other = TransformersEngine(qwen2_folder, "float32", 64)
    other.start()
    for each in (engine, other):
        each.load_weights(model.named_parameters(), 5)
    greedy = Sampling(max_tokens=60, temperature=0)
    ids = [r.token_ids for (r,) in generate(other, LONG, greedy)]
    stop = tuple(character_tokenizer().decode(own[5 * n : 5 * n + 2]) for n, own in enumerate(ids))
    stopping = replace(greedy, stop=(*stop, "<|user|>"))
    groups = [generate(each, LONG, stopping) for each in (engine, other)]
    ended, expected = ([(r.token_ids, r.text, r.truncated) for (r,) in group] for group in groups)
    assert ended == expected
    assert len({len(token_ids) for token_ids, _, truncated in ended if not truncated}) > 2
    assert trainer_log_probs(model, LONG, groups[0], 1.0).gap < 1e-5


def test_starting_leaves_the_process_as_it_was(engine: VLLMEngine) -> None:
    torch.set_num_threads(2)
    assert torch.get_num_threads() == 2  # not vLLM's stub
    torch.set_num_threads(1)


def test_another_engine_may_follow_and_agrees_with_a_mixture_of_experts(
    engine: VLLMEngine, qwen3_moe_folder: str
) -> None:
    engine.close()
    following = started(qwen3_moe_folder)
    check_syncs(following, qwen3_moe_folder)
    following.close()


@pytest.fixture(scope="module")
def olmo2_engine(engine: VLLMEngine, olmo2_folder: str) -> Iterator[VLLMEngine]:
    """One whose model vLLM runs in the code of transformers."""
    engine.close()
    engine = started(olmo2_folder)
    yield engine
    engine.close()


def test_the_classes_of_transformers_stay_as_they_are(olmo2_folder: str, request: pytest.FixtureRequest) -> None:
    """vLLM decorates those whose code it runs, in place; the trainer's models are of the same classes."""
    before = perturbed(olmo2_folder, seed=0)
    attributes, bases = dict(vars(Olmo2Model)), Olmo2Model.__bases__
    olmo2_engine = request.getfixturevalue("olmo2_engine")
    for _ in range(2):
        assert Olmo2Model.__bases__ == bases
        assert attributes.items() <= vars(Olmo2Model).items()
        assert "__call__" not in vars(Olmo2Model)
        check_syncs(olmo2_engine, olmo2_folder)  # with models made after the engine was started
        called: list[object] = []
        handle = before.model.register_forward_hook(lambda *_, called=called: called.append(True))
        olmo2_engine.load_weights(before.named_parameters(), 9)
        responses = generate(olmo2_engine, LONG, SAMPLING, 3)
        assert trainer_log_probs(before, LONG, responses, 1.0).gap < 1e-5
        assert called, "a decorated class calls no hooks"
        handle.remove()
        olmo2_engine.close()
        olmo2_engine.start()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lm_head.weight", math.nan),  # a column of the logits
        ("lm_head.weight", math.inf),
        ("model.layers.1.self_attn.q_proj.weight", math.nan),  # the last one: NaN stays in the cache of keys and values
    ],
)
def test_weights_that_are_not_finite_are_an_error(
    olmo2_engine: VLLMEngine, olmo2_folder: str, name: str, value: float
) -> None:
    model = perturbed(olmo2_folder, seed=0)
    olmo2_engine.load_weights(model.named_parameters(), 1)
    responses = generate(olmo2_engine, LONG, SAMPLING, 3)
    assert trainer_log_probs(model, LONG, responses, 1.0).gap < 1e-5
    olmo2_engine.load_weights(poisoned(olmo2_folder, name, value), 2)
    for temperature in (0.0, 1.0):
        sampling = Sampling(max_tokens=32, temperature=temperature)
        with pytest.raises(EngineError, match="the model's logits are not finite: its weights hold NaN"):
            generate(olmo2_engine, LONG, sampling, 8)
