"""Both sides of the comparison get the same work, and the raw update computes what it says."""

import json
import multiprocessing
import socket
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from raw_step import by_budget, padded, plain_loss, sequences_of
from same_work import PROMPTS, Alternating, Turns
from transformers import AutoModelForCausalLM
from work import same_work, write_problems

from gmpo.advantages import GroupNorm
from gmpo.models.tiny import character_tokenizer
from gmpo.models.tokenizer import load_tokenizer
from gmpo.types import Group, Prompt, Response, Rollout


def group(index: int, prompt: list[int], responses: list[list[int]]) -> Group:
    rollouts = [
        Rollout(Response(ids, [0.0] * len(ids), "", False), 0.0, 1.0 - 2 * (i % 2)) for i, ids in enumerate(responses)
    ]
    return Group(Prompt(index, "", "", prompt, "", "test"), rollouts)


GROUPS = [group(0, [5, 6], [[7, 8, 9], [7]]), group(1, [5], [[9, 9, 9, 9], [8, 8]])]


def test_every_group_has_a_signal_or_exactly_half_of_them() -> None:
    answers = [str(number) for number in range(4) for _ in range(8)]
    for silent in (False, True):
        rewards = torch.tensor(Alternating(silent).score([""] * 32, answers))
        advantages = GroupNorm()(rewards, torch.arange(32) // 8).view(4, 8)
        assert (advantages != 0).any(1).tolist() == [True, not silent, True, not silent]


def test_prompts_are_the_same_tokens_on_both_sides(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    write_problems(problems)
    rows = [json.loads(line) for line in problems.read_text().splitlines()]
    assert len({row["problem"] for row in rows}) == PROMPTS
    tokenizer = character_tokenizer()
    for row in rows[:5]:
        ours = tokenizer.apply_chat_template([{"role": "user", "content": row["problem"]}], add_generation_prompt=True)
        assert tokenizer(row["prompt"])["input_ids"] == ours["input_ids"]


def test_the_work_composes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("work.make_model", lambda size: size)
    cfg = same_work(tmp_path, "10m", tmp_path / "problems.jsonl", "optimizer.lr=0.5")
    assert (cfg.batch.prompts, cfg.batch.group_size, cfg.sampling.max_tokens, cfg.optimizer.lr) == (64, 8, 32, 0.5)
    assert (cfg.cluster.threads, cfg.model.path) == (2, "10m")
    assert "progress" not in cfg.callbacks


def take_two(descriptor: int) -> None:
    turns = Turns(str(descriptor))
    said = []
    while (wanted := turns.take({"said": list(said)})) is not None:
        said.append(wanted)


def test_turns() -> None:
    here, there = socket.socketpair()
    process = multiprocessing.get_context("fork").Process(target=take_two, args=(there.fileno(),))
    process.start()
    there.close()
    connection = Connection(here.detach())
    assert connection.recv() == {"seconds": None, "said": []}
    connection.send("all")
    report = connection.recv()
    assert report["said"] == ["all"]
    assert report["seconds"] >= 0
    connection.send(None)
    process.join(30)
    assert process.exitcode == 0


def test_micro_batches_keep_to_the_budget_and_lose_nothing() -> None:
    texts = sequences_of(GROUPS)
    assert [len(text.token_ids) for text in texts] == [3, 3, 5, 5]
    cuts = list(by_budget(texts, 10))
    assert [text for part in cuts for text in part] == texts
    assert all(len(part) * len(part[-1].token_ids) <= 10 for part in cuts)


def test_the_raw_loss_is_the_sum_over_sequences_alone(qwen2_folder: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen2_folder, dtype=torch.float64)
    texts = sequences_of(GROUPS)
    pad = load_tokenizer(qwen2_folder, False).pad_token_id
    expected = 0.0
    for text in texts:
        ids = torch.tensor([text.token_ids])
        log_probs = model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[text.prompt_tokens - 1 :]
        expected -= text.advantage * log_probs.mean().item()
    assert plain_loss(model, padded(texts, pad)).item() == pytest.approx(expected, abs=1e-5)
