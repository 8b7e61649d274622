"""Keys that repeat another one are not set by themselves, and no part that others refer to is left out."""

import pytest
from composing import composed
from test_config import refusal

from gmpo.config import check


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.mini_batch_prompts=3", "policy.mini_batch_prompts=3 repeats batch.mini_batch_prompts=16"),
        ("policy.max_tokens_per_micro_batch=abc", "repeats batch.max_tokens_per_micro_batch"),
        ("datamodule.steps=1", "datamodule.steps=1 repeats run.steps"),
        ("datamodule.prompts_per_step=3", "repeats batch.prompts"),
        ("callbacks.checkpoint.every=0", "callbacks.checkpoint.every=0 repeats checkpoint.every=10"),
        (
            "callbacks.checkpoint.best=val/x/mean@1",
            "repeats checkpoint.best=None, which other parts read: set that alone",
        ),
        ("callbacks.rollout.seed=abc", "repeats run.seed=0"),
        ("callbacks.rollout.engine.timeout=0", "repeats rollout.timeout"),
        ("callbacks.evaluation.samples=4", "repeats validation.samples=1"),
        ("sampling.samples=3", "sampling.samples=3 repeats batch.group_size=8"),
        ("~guards", "guards was left out (~guards), and other parts refer to it"),
        ("~schedule", "schedule was left out"),
        ("~trainer", "trainer was left out"),
        ("~logger", "logger was left out"),
    ],
)
def test_what_repeats_a_key_or_is_left_out_is_refused(override: str, message: str) -> None:
    assert message in refusal(override)


def test_a_repeated_key_may_be_given_its_own_value() -> None:
    check(composed("policy.mini_batch_prompts=16", "validation.max_tokens=20", "~callbacks.progress"))


@pytest.mark.parametrize("value", ["[2]", "3", "[0]", "[a]"])
def test_pass_k_of_training_is_checked_before(value: str) -> None:
    assert refusal(f"callbacks.evaluation.pass_k={value}").startswith("callbacks.evaluation.pass_k")


@pytest.mark.parametrize("text", [r"\n", r"\n\n", r"\t"])
def test_a_backslash_and_a_letter_are_no_line_break(text: str) -> None:
    assert "where a line break was likely meant" in refusal(f'sampling.stop=["{text}"]')


def test_keys_of_any_kind_within_a_part_of_a_user() -> None:
    check(composed("+callbacks.mine={_target_: some.Class, when: {0: 4}}"))
