"""Groups of a real engine for a real policy, outside of a trainer."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest
import torch
from conftest import make_prompt
from small_training import module

from gmpo.policy.module import PolicyModule
from gmpo.rewards import ExactMatch, Overlong, Reward
from gmpo.rollout import Scoring, SubprocessEngine, Supervised
from gmpo.rollout.collector import Collector, GroupSampling
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import EngineError
from gmpo.types import Group, Prompt, PromptBatch, Request, Response, Sampling, Stage

TRAINING = GroupSampling(Stage.TRAIN, Sampling(max_tokens=6), samples=4)


def collector(folder: str, policy: PolicyModule, reward: Reward | None = None) -> Collector:
    engine = Supervised(TransformersEngine(folder, "float32", max_num_seqs=64))
    engine.start()
    made = Collector(engine, reward or ExactMatch(), Overlong(TRAINING.sampling.max_tokens), 0, Scoring(), False)
    made.attach(policy.state)
    return made


def policy(folder: str) -> PolicyModule:
    made = module(folder)
    made.configure_model()
    return made


def groups_of(rollouts: Collector, pl_module: PolicyModule, prompts: list[Prompt]) -> list[Group]:
    rollouts.engine.sync(pl_module)
    return rollouts.groups(prompts, TRAINING)


def responses(batch: PromptBatch) -> list[list[list[int]]]:
    return [[rollout.response.token_ids for rollout in group.rollouts] for group in batch.groups]


def test_groups_follow_their_prompts_and_can_be_repeated(qwen2_folder: str) -> None:
    pl_module = policy(qwen2_folder)
    rollouts = collector(qwen2_folder, pl_module)
    one, two = (PromptBatch([make_prompt("1+1", 5), make_prompt("2+2", 9)]) for _ in range(2))
    one.groups = groups_of(rollouts, pl_module, one.prompts)
    two.groups = groups_of(rollouts, pl_module, two.prompts)
    assert [group.prompt for group in one.groups] == one.prompts
    assert [len(group.rollouts) for group in one.groups] == [4, 4]
    assert responses(one) == responses(two)
    pl_module.state.rollout_step += 1
    two.groups = groups_of(rollouts, pl_module, two.prompts)
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
    pl_module = policy(qwen2_folder)
    rollouts = collector(qwen2_folder, pl_module)
    rollouts.engine.engine.max_num_seqs = 4  # a group at a time
    rollouts.reward = reward = Listens()
    prompts = [make_prompt(f"{i}+{i}", i, answer=str(i)) for i in range(4)]
    as_asked = groups_of(rollouts, pl_module, prompts)
    rollouts.lengths.learn([(("test", 2), [90]), (("test", 3), [5]), (("test", 1), [40])])
    longest_first = groups_of(rollouts, pl_module, prompts)
    assert reward.answers == [i for i in "01232013" for _ in range(4)]
    assert [group.prompt for group in longest_first] == prompts
    assert responses(PromptBatch(prompts, longest_first)) == responses(PromptBatch(prompts, as_asked))


def test_a_prompt_that_is_drawn_twice_gets_other_responses(qwen2_folder: str) -> None:
    pl_module = policy(qwen2_folder)
    rollouts = collector(qwen2_folder, pl_module)
    batch = PromptBatch([make_prompt("1+1", 5), make_prompt("1+1", 5)])
    batch.groups = groups_of(rollouts, pl_module, batch.prompts)
    first, second = responses(batch)
    assert first != second


def test_weights_reach_the_engine_when_they_changed_and_only_then(qwen2_folder: str) -> None:
    pl_module = policy(qwen2_folder)
    rollouts = collector(qwen2_folder, pl_module)
    batch = PromptBatch([make_prompt("1+1")])
    batch.groups = groups_of(rollouts, pl_module, batch.prompts)
    before = responses(batch)
    with torch.no_grad():
        for parameter in pl_module.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    batch.groups = groups_of(rollouts, pl_module, batch.prompts)
    assert responses(batch) == before
    pl_module.state.policy_version += 1
    batch.groups = groups_of(rollouts, pl_module, batch.prompts)
    assert responses(batch) != before
    assert rollouts.engine.policy_version == 1


class Odd(ExactMatch):
    """Leaves the program in the middle of a generation."""

    def submit(self, response: str, answer: str) -> Future[float]:
        raise KeyboardInterrupt


def test_an_engine_is_let_go_where_a_step_is_left(qwen2_folder: str) -> None:
    pl_module = policy(qwen2_folder)
    engine = Supervised(SubprocessEngine(TransformersEngine(qwen2_folder, "float32", max_num_seqs=1), timeout=60))
    engine.start()
    engine.sync(pl_module)
    rollouts = Collector(engine, Odd(), Overlong(TRAINING.sampling.max_tokens), 0, Scoring(), False)
    with pytest.raises(KeyboardInterrupt) as left:
        rollouts.groups([make_prompt("1+1")], TRAINING)
    rollouts.close()  # while `left` still holds every frame
    assert left.tb is not None
    assert engine.engine.pid is None


class Forgets(TransformersEngine):
    """Gives no response to its last request."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        yield from super().generate(requests[:-1])


def test_a_prefetched_request_without_a_response_is_an_error_of_the_engine(qwen2_folder: str) -> None:
    pl_module = policy(qwen2_folder)
    engine = Supervised(Forgets(qwen2_folder, "float32", max_num_seqs=64))
    engine.start()
    rollouts = Collector(engine, ExactMatch(), Overlong(TRAINING.sampling.max_tokens), 0, Scoring(), prefetches=True)
    rollouts.attach(pl_module.state)
    engine.sync(pl_module)
    rollouts.prefetch([make_prompt("1+1", 5)], TRAINING)
    rollouts.wait()
    pl_module.state.begin_step()
    with pytest.raises(EngineError, match="no response to 1 of 4 requests"):  # generated again, with the same engine
        rollouts.first_groups([make_prompt("1+1", 5)], TRAINING)
    rollouts.close()
