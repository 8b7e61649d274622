"""What is shown of responses, and of a run that ends early."""

from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir

from gmpo.callbacks.response_count import ResponseCount
from gmpo.callbacks.summary import SummaryCallback
from gmpo.metrics.clock import StepClock
from gmpo.metrics.loggers import write_metrics
from gmpo.planning.duration import expected_duration, in_words


def test_responses_are_counted_over_the_batches_of_a_validation() -> None:
    clock, responses = StepClock(), ResponseCount("validation", 10)
    clock.on_responses.append(responses.count)
    shown = []
    for batch in (4, 4, 2):
        for finished in range(batch + 1):
            clock.count_responses(finished, batch)
            shown.append(responses.share)
    assert shown[:6] == ["0/10", "1/10", "2/10", "3/10", "4/10", "4/10"]
    assert shown[-1] == "10/10"
    assert len(dict.fromkeys(shown)) == 11


def test_responses_of_a_step_are_out_of_those_asked_for() -> None:
    responses = ResponseCount("step 3")
    responses.count(1024, 2048)
    assert responses.share == "1,024/2,048"


@pytest.mark.parametrize(("steps", "rewarded"), [(1, False), (5, False), (6, True), (9, True)])
def test_first_and_last_steps_are_compared_where_there_are_six(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: int, rewarded: bool
) -> None:
    times = {f"time/{name}": 1 for name in ("weight_sync", "generate", "reward", "exchange", "log_probs", "update")}
    row = {"reward/mean": 0.5, "time/step": 9, "throughput/tokens_per_second": 5, **times}
    rows = [{"rollout_step": 0, "val/a/mean@1": 0.1}, *({"rollout_step": step + 1, **row} for step in range(steps))]
    write_metrics(tmp_path / "metrics.csv", [*rows])
    SummaryCallback(str(tmp_path)).on_fit_end(None, None)  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert ("reward/mean (first 3, last 5 steps)" in shown) == rewarded
    assert "val/a/mean@1" in shown
    assert f"after {steps} rollout steps" in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (150, "2.5 min"),
        (6692, "1.9 h"),
        (140 * 6692, "11 days"),
        (59, "59 s"),
        (7200, "2.0 h"),
        (36 * 3600, "1.5 days"),
    ],
)
def test_durations_in_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said


def test_a_run_of_minutes_a_step_says_how_long_it_takes() -> None:
    smollm2 = (
        "{model_type: llama, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49152, "
        "num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 8192, tie_word_embeddings: true}"
    )
    own = (
        "experiment=quickstart",
        "model=local",
        "model.path=some/model",
        "data=gsm8k",
        "sampling.max_tokens=512",
        "run.name=first",
    )
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        large, unknown = compose("train", [*own, f"model.shape={smollm2}"]), compose("train", [*own])
        quickstart = compose("train", ["experiment=quickstart", "run.name=quickstart"])
    said = "a step takes about 1.9 h on this cluster by the estimate of plan.py, and 140 of them 11 days"
    assert expected_duration(large, 140) == f"{said}, without validation"
    assert expected_duration(quickstart, 140) is None
    assert expected_duration(unknown, 140) is None
