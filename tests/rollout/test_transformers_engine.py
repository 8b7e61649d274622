import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_prompt, save
from engine_checks import check_handing_over, check_stops, generate, perturbed, poisoned, trainer_log_probs
from transformers import GenerationConfig

from gmpo.rollout import SubprocessEngine
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import EngineError, NonFiniteError
from gmpo.types import Request, Sampling

PROMPTS = [make_prompt(question, i) for i, question in enumerate(["1+1", "what is 12+34", "9 minus 8", "7"])]
SAMPLING = Sampling(max_tokens=12)


def started(folder: str, max_num_seqs: int = 64) -> TransformersEngine:
    engine = TransformersEngine(folder, "float32", max_num_seqs)
    engine.start()
    return engine


def test_a_seed_decides_the_response_whatever_else_is_in_the_batch(qwen2_folder: str) -> None:
    together = generate(started(qwen2_folder), PROMPTS, SAMPLING, 3)
    one_by_one = generate(started(qwen2_folder, max_num_seqs=1), PROMPTS, SAMPLING, 3)
    assert [[r.token_ids for r in group] for group in together] == [[r.token_ids for r in g] for g in one_by_one]
    assert len({tuple(r.token_ids) for group in together for r in group}) > len(PROMPTS)
    others = generate(started(qwen2_folder), PROMPTS, SAMPLING, 3, run_seed=1)
    assert others != together


def test_responses_are_handed_over(qwen2_folder: str) -> None:
    assert len(check_handing_over(started(qwen2_folder, max_num_seqs=4), PROMPTS, SAMPLING, 3)) == 1 + 3 * 3


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_log_probs_are_the_trainers(qwen2_folder: str, temperature: float) -> None:
    engine = started(qwen2_folder)
    sampling = Sampling(max_tokens=12, temperature=temperature)
    for step in range(2):
        model = perturbed(qwen2_folder, seed=step)
        engine.load_weights(model.named_parameters(), policy_version=step + 1)
        assert engine.policy_version == step + 1
        responses = generate(engine, PROMPTS, sampling, 3)
        gap = trainer_log_probs(model, PROMPTS, responses, temperature).gap
        assert gap < 1e-5


def test_greedy_takes_the_likeliest_token(qwen2_folder: str) -> None:
    greedy = Sampling(max_tokens=5, temperature=0)
    model = perturbed(qwen2_folder, seed=0)
    engine = started(qwen2_folder)
    engine.load_weights(model.named_parameters(), 1)
    ((response,),) = generate(engine, PROMPTS[:1], greedy)
    ids = list(PROMPTS[0].token_ids)
    for token in response.token_ids:
        assert token == int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_top_k_of_one_is_greedy_and_its_log_prob_is_zero(qwen2_folder: str) -> None:
    ((response,),) = generate(started(qwen2_folder), PROMPTS[:1], Sampling(max_tokens=5, top_k=1))
    ((greedy,),) = generate(started(qwen2_folder), PROMPTS[:1], Sampling(max_tokens=5, temperature=0))
    assert response.token_ids == greedy.token_ids
    assert list(response.log_probs) == [0.0] * len(response.token_ids)


def test_a_response_ends_with_the_end_token_or_is_truncated(qwen2_folder: str) -> None:
    sampling = Sampling(max_tokens=60)
    groups = generate(started(qwen2_folder), PROMPTS, sampling, 16)
    responses = [r for group in groups for r in group]
    assert {r.truncated for r in responses} == {True, False}
    for response in responses:
        assert response.truncated == (response.token_ids[-1] != 1)
        assert 1 not in response.token_ids[:-1]
        assert len(response.log_probs) == len(response.token_ids)
        assert len(response.token_ids) == 60 or not response.truncated


def test_sampled_tokens_follow_the_models_distribution(qwen2_folder: str) -> None:
    prompt = PROMPTS[0]
    draws = [Request(prompt, seed, Sampling(max_tokens=1)) for seed in range(4000)]
    drawn = [response.token_ids[0] for _, response in started(qwen2_folder, 4000).generate(draws)]
    counts = torch.bincount(torch.tensor(drawn), minlength=260) / 4000
    expected = perturbed(qwen2_folder, seed=0, size=0.0)(input_ids=torch.tensor([prompt.token_ids])).logits[0, -1]
    assert (counts - expected.softmax(-1)).abs().max() < 0.04


def test_generation_needs_a_started_engine(qwen2_folder: str) -> None:
    with pytest.raises(RuntimeError, match=r"start\(\)"):
        generate(TransformersEngine(qwen2_folder, "float32", 1), PROMPTS, SAMPLING, 3)


def test_a_models_own_generation_settings_do_not_bend_the_sampling(qwen2_folder: str, tmp_path: Path) -> None:
    """Instruction models ship a repetition penalty and several end tokens."""
    model = perturbed(qwen2_folder, seed=0, size=0.0)
    model.generation_config = GenerationConfig(eos_token_id=[1, 77, 78], repetition_penalty=5.0)
    folder = save(model, tmp_path)
    sampling = Sampling(max_tokens=60)
    groups = generate(started(folder), PROMPTS, sampling, 32)
    assert trainer_log_probs(model, PROMPTS, groups, 1.0).gap < 1e-5
    ends = {r.token_ids[-1] for group in groups for r in group if not r.truncated}
    assert {77, 78} <= ends
    assert not [r for group in groups for r in group if {1, 77, 78} & set(r.token_ids[:-1])]


def test_a_started_engine_holds_the_model_as_loaded(qwen2_folder: str) -> None:
    engine = started(qwen2_folder)
    engine.load_weights(perturbed(qwen2_folder, seed=0).named_parameters(), 7)
    engine.close()
    engine.start()
    assert engine.policy_version == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_response_ends_at_a_stop_string(qwen2_folder: str, temperature: float) -> None:
    sampling = Sampling(max_tokens=60, temperature=temperature)
    assert check_stops(started(qwen2_folder, max_num_seqs=16), PROMPTS, sampling, 8) >= 1


def test_a_stop_string_within_the_last_token_is_an_end(qwen2_folder: str) -> None:
    engine, prompts = started(qwen2_folder), PROMPTS[:1]
    sampling = Sampling(max_tokens=1)
    (whole,) = generate(engine, prompts, sampling, 16)
    last = next(r for r in whole if r.truncated and r.text.isascii() and r.text)
    (ended,) = generate(engine, prompts, replace(sampling, stop=(last.text,)), 16)
    assert [r.token_ids for r in ended] == [r.token_ids for r in whole]
    assert [r.truncated for r in ended] == [r.truncated and r.text != last.text for r in whole]


def test_a_stop_string_may_be_a_special_token(qwen2_folder: str) -> None:
    """The text of a response leaves special tokens out; what ends it does not."""
    model = perturbed(qwen2_folder, seed=0, size=0.0)
    sampling = Sampling(max_tokens=60, stop=("<|user|>",))
    groups = generate(started(qwen2_folder), PROMPTS, sampling, 32)
    responses = [r for group in groups for r in group]
    assert [r for r in responses if r.token_ids[-1] == 2 and not r.truncated]
    assert not [r for r in responses if 2 in r.token_ids[:-1]]
    assert trainer_log_probs(model, PROMPTS, groups, 1.0).gap < 1e-5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.layers.0.self_attn.q_proj.weight", math.nan),
        ("model.layers.1.mlp.down_proj.weight", math.nan),
        ("model.layers.1.mlp.up_proj.weight", math.inf),
        ("model.norm.weight", -math.inf),
        ("lm_head.weight", math.nan),  # one column of the logits
    ],
)
@pytest.mark.parametrize("sampling", [Sampling(4, temperature=0), Sampling(4), Sampling(4, top_p=0.5, top_k=9)])
def test_weights_that_are_not_finite_are_an_error(
    qwen3_folder: str, name: str, value: float, sampling: Sampling
) -> None:
    engine = started(qwen3_folder)
    engine.load_weights(poisoned(qwen3_folder, name, value), 1)
    with pytest.raises(EngineError, match="the model's logits are not finite: its weights hold NaN"):
        generate(engine, PROMPTS, sampling)


def test_an_engine_in_a_process_of_its_own_says_the_same(qwen3_folder: str) -> None:
    engine = SubprocessEngine(TransformersEngine(qwen3_folder, "float32", 8), timeout=60.0)
    engine.start()
    engine.load_weights(poisoned(qwen3_folder, "model.norm.weight", math.nan), 1)
    with pytest.raises(NonFiniteError, match=r"^the model's logits are not finite"):
        generate(engine, PROMPTS, SAMPLING, 3)
    engine.close()
