"""A real engine that fails in the middle of a generation, supervised."""

from collections.abc import Iterator, Sequence

import pytest
from conftest import make_prompt
from engine_checks import requests
from small_training import module

from gmpo.policy.module import PolicyModule
from gmpo.rollout import Supervised
from gmpo.rollout.in_process_engine import InProcessEngine
from gmpo.rollout.transformers import TransformersEngine
from gmpo.run.errors import EngineError
from gmpo.types import Request, Response, Sampling

REQUESTS = requests([make_prompt(f"{i}+{i}", i) for i in range(4)], Sampling(max_tokens=6), 2)


class Breaks(TransformersEngine):
    """Ends after two responses, so many times."""

    def __init__(self, folder: str, times: int) -> None:
        super().__init__(folder, "float32", max_num_seqs=1)
        self.times = times

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for number, finished in enumerate(super().generate(requests)):
            if number == 2 and self.times:
                self.times -= 1
                raise OSError("out of order")
            yield finished


def policy(folder: str) -> PolicyModule:
    """After an update that engines as loaded know nothing of."""
    made = module(folder, dtype="float32")
    made.configure_model()
    for parameter in made.parameters():
        parameter.data += 0.05 * parameter.data.sin()
    made.state.policy_version = 3
    return made


def supervised(folder: str, times: int) -> Supervised:
    engine = Supervised(InProcessEngine(Breaks(folder, times), timeout=60))
    engine.start()
    engine.sync(policy(folder))
    return engine


def test_each_response_comes_once_from_two_engines_of_the_same_weights(qwen2_folder: str) -> None:
    whole, broken = supervised(qwen2_folder, times=0), supervised(qwen2_folder, times=1)
    expected, found = list(whole.generate(REQUESTS)), list(broken.generate(REQUESTS))
    assert len(found) == len(REQUESTS)
    assert dict(found) == dict(expected)
    assert broken.policy_version == 3


def test_a_second_failure_is_raised_and_the_engine_can_be_used_again(qwen2_folder: str) -> None:
    engine = supervised(qwen2_folder, times=2)
    with pytest.raises(EngineError, match="the engine failed: OSError: out of order"):
        list(engine.generate(REQUESTS))
    assert len(list(engine.generate(REQUESTS))) == len(REQUESTS)


def test_weights_travel_when_they_are_newer_and_only_then(qwen2_folder: str) -> None:
    engine, newer = Supervised(TransformersEngine(qwen2_folder, "float32", 64)), policy(qwen2_folder)
    engine.start()
    as_loaded = dict(engine.generate(REQUESTS))
    newer.state.policy_version = 0
    engine.sync(newer)
    assert dict(engine.generate(REQUESTS)) == as_loaded
    newer.state.policy_version = 1
    engine.sync(newer)
    assert dict(engine.generate(REQUESTS)) != as_loaded
    assert engine.policy_version == 1


class Forgets(TransformersEngine):
    """Gives no response to its last request, and cannot sleep."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        yield from super().generate(requests[:-1])

    def sleep(self) -> None:
        raise OSError("wide awake")


def test_a_request_without_a_response_is_an_error_that_names_the_rule(qwen2_folder: str) -> None:
    engine = Supervised(InProcessEngine(Forgets(qwen2_folder, "float32", max_num_seqs=8), timeout=60))
    engine.start()
    engine.sync(policy(qwen2_folder))
    with pytest.raises(EngineError, match="no response to 1 of 8 requests: it must yield each of the Request objects"):
        list(engine.generate(REQUESTS))


def test_an_engine_that_cannot_sleep_is_reported_once(qwen2_folder: str, caplog: pytest.LogCaptureFixture) -> None:
    engine = Supervised(InProcessEngine(Forgets(qwen2_folder, "float32", max_num_seqs=8), timeout=60))
    engine.start()
    engine.sleep()
    engine.sleep()
    assert [record.message for record in caplog.records if "wide awake" in record.message] == [
        "the engine failed: OSError: wide awake, so that it keeps its memory during the update"
    ]
