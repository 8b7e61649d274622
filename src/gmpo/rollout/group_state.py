"""Scored groups as tensors, numbers and text, for a checkpoint."""

from typing import Any

import torch

from gmpo.types import Group, Prompt, Response, Rollout


def as_state(groups: list[Group]) -> dict[str, Any]:
    """Return responses, rewards and final answers of equally large groups; advantages and old log-probs come later."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    responses = [rollout.response for rollout in rollouts]
    return {
        "samples": len(groups[0].rollouts) if groups else 0,
        "lengths": [len(response.token_ids) for response in responses],
        "token_ids": torch.tensor([token for response in responses for token in response.token_ids], dtype=torch.long),
        "log_probs": torch.tensor([p for response in responses for p in response.log_probs], dtype=torch.float64),
        "texts": [response.text for response in responses],
        "truncated": [response.truncated for response in responses],
        "rewards": [rollout.reward for rollout in rollouts],
        "final_answers": [rollout.final_answer for rollout in rollouts],
    }


def as_groups(state: dict[str, Any], prompts: list[Prompt]) -> list[Group]:
    """Return the groups of a state. prompts: one for each."""
    columns = (
        [ids.tolist() for ids in state["token_ids"].split(state["lengths"])],
        [log_probs.tolist() for log_probs in state["log_probs"].split(state["lengths"])],
        *(state[name] for name in ("texts", "truncated", "rewards", "final_answers")),
    )
    rollouts = [
        Rollout(Response(token_ids, log_probs, text, truncated), reward, final_answer=answer)
        for token_ids, log_probs, text, truncated, reward, answer in zip(*columns, strict=True)
    ]
    samples = state["samples"]
    return [Group(prompt, rollouts[i * samples : (i + 1) * samples]) for i, prompt in enumerate(prompts)]
