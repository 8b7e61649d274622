"""The callback with a real engine and a real policy, outside of a trainer."""

from concurrent.futures import Future

import pytest
import torch
from conftest import make_prompt
from small_training import module

from gmpo.advantages import GroupNorm
from gmpo.callbacks import RolloutCallback
from gmpo.metrics.rollout import facts_of, mean_of_reports, rollout_metrics
from gmpo.policy.module import PolicyModule
from gmpo.rewards import ExactMatch, Overlong
from gmpo.rollout import DynamicSampling, Scoring
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import RunError
from gmpo.types import Group, PromptBatch, Response, Rollout, Sampling


def callback(folder: str) -> RolloutCallback:
    sampling = Sampling(max_tokens=6)
    engine = TransformersEngine(folder, "float32", max_num_seqs=64)
    engine.start()
    overlong = Overlong(sampling.max_tokens)
    return RolloutCallback(
        engine, ExactMatch(), GroupNorm(), sampling, 4, sampling, 4, 0, overlong, DynamicSampling(), Scoring()
    )


def policy(folder: str) -> PolicyModule:
    made = module(folder)
    made.configure_model()
    return made


def responses(batch: PromptBatch) -> list[list[list[int]]]:
    return [[rollout.response.token_ids for rollout in group.rollouts] for group in batch.groups]


def test_groups_follow_their_prompts_and_can_be_repeated(qwen2_folder: str) -> None:
    rollouts, pl_module = callback(qwen2_folder), policy(qwen2_folder)
    one, two = (PromptBatch([make_prompt("1+1", 5), make_prompt("2+2", 9)]) for _ in range(2))
    one.groups = rollouts.generation.groups(pl_module, one.prompts, rollouts.sampling, 4, "train")
    two.groups = rollouts.generation.groups(pl_module, two.prompts, rollouts.sampling, 4, "train")
    assert [group.prompt for group in one.groups] == one.prompts
    assert [len(group.rollouts) for group in one.groups] == [4, 4]
    assert responses(one) == responses(two)
    pl_module.rollout_step += 1
    two.groups = rollouts.generation.groups(pl_module, two.prompts, rollouts.sampling, 4, "train")
    assert responses(one) != responses(two)


class Listens(ExactMatch):
    """Keeps the answers to what it scores, in the order of scoring."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[str] = []

    def submit(self, response: str, answer: str) -> Future[float]:
        self.answers.append(answer)
        return super().submit(response, answer)


def test_prompts_of_long_responses_are_asked_first_and_nothing_else_changes(qwen2_folder: str) -> None:
    rollouts, pl_module = callback(qwen2_folder), policy(qwen2_folder)
    rollouts.engine.max_num_seqs = 4  # a group at a time
    rollouts.generation.reward = reward = Listens()
    prompts = [make_prompt(f"{i}+{i}", i, answer=str(i)) for i in range(4)]
    as_asked = rollouts.generation.groups(pl_module, prompts, rollouts.sampling, 4, "train")
    rollouts.generation.lengths.learn([(("test", 2), [90]), (("test", 3), [5]), (("test", 1), [40])])
    longest_first = rollouts.generation.groups(pl_module, prompts, rollouts.sampling, 4, "train")
    assert reward.answers == [i for i in "01232013" for _ in range(4)]
    assert [group.prompt for group in longest_first] == prompts
    assert responses(PromptBatch(prompts, longest_first)) == responses(PromptBatch(prompts, as_asked))


def test_a_prompt_that_is_drawn_twice_gets_other_responses(qwen2_folder: str) -> None:
    rollouts, pl_module = callback(qwen2_folder), policy(qwen2_folder)
    batch = PromptBatch([make_prompt("1+1", 5), make_prompt("1+1", 5)])
    batch.groups = rollouts.generation.groups(pl_module, batch.prompts, rollouts.sampling, 4, "train")
    first, second = responses(batch)
    assert first != second


def test_weights_reach_the_engine_when_they_changed_and_only_then(qwen2_folder: str) -> None:
    rollouts, pl_module = callback(qwen2_folder), policy(qwen2_folder)
    batch = PromptBatch([make_prompt("1+1")])
    batch.groups = rollouts.generation.groups(pl_module, batch.prompts, rollouts.sampling, 4, "train")
    before = responses(batch)
    with torch.no_grad():
        for parameter in pl_module.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    batch.groups = rollouts.generation.groups(pl_module, batch.prompts, rollouts.sampling, 4, "train")
    assert responses(batch) == before
    pl_module.policy_version += 1
    batch.groups = rollouts.generation.groups(pl_module, batch.prompts, rollouts.sampling, 4, "train")
    assert responses(batch) != before
    assert rollouts.engine.policy_version == 1


def test_metrics_of_a_step() -> None:
    def group(*rewards: float) -> Group:
        made = [Rollout(Response([5] * (i + 1), [0.0] * (i + 1), "", i == 0), r) for i, r in enumerate(rewards)]
        return Group(make_prompt("1+1"), made)

    metrics = rollout_metrics(facts_of([group(1, 1), group(0, 1), group(0, 0), group(1, 1)]))
    assert metrics["reward/mean"] == 0.625
    assert metrics["rollout/response_length"] == 1.5
    assert metrics["rollout/truncated_fraction"] == 0.5
    assert metrics["rollout/zero_advantage_groups"] == 0.75


def test_reports_of_ranks_weigh_by_what_each_scored() -> None:
    reports = [(6, {"right": 0.5, "format": 1.0}), (2, {"right": 1.0}), (0, {}), (0, {"format": 9.0})]
    assert mean_of_reports(reports) == {"right": 0.625, "format": 1.0}


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        (lambda rewards, ids: rewards[:1], r"ValueError: it returned shape \[1\] for 4 rewards"),
        (lambda rewards, ids: rewards / 0, "values that are not finite, of rewards that are"),
        (lambda rewards, ids: ids[99], "IndexError"),
        (lambda rewards, ids: None, "AttributeError"),
    ],
)
def test_an_advantage_that_fails_is_named(qwen2_folder: str, advantage: object, message: str) -> None:
    rollouts = callback(qwen2_folder)
    rollouts.advantage = advantage  # type: ignore[assignment]
    group = Group(make_prompt("1+1"), [Rollout(Response([1], [0.0], "", False), float(i)) for i in range(4)])
    with pytest.raises(RunError, match=rf"the advantage function failed: .*{message}.*rewards float \[B\]"):
        rollouts._set_advantages(PromptBatch([], [group]))
