"""`python evaluate.py` and `gmpo responses` as a user types them."""

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import forked
import pytest
import torch
from conftest import ENVIRONMENT, ROOT, save
from hydra import compose, initialize_config_dir
from transformers import AutoModelForCausalLM

from gmpo.config import check_evaluation
from gmpo.evaluation.command import open_folder, prepare

SHORT = ["sampling.max_tokens=10", "data.max_prompt_tokens=100", "cluster.threads=1"]
COMMAND = [sys.executable, str(ROOT / "evaluate.py"), *SHORT]
SLOWLY = ["rollout=transformers", "rollout.engine.max_num_seqs=2"]
ENVIRONMENT = ENVIRONMENT | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def evaluate(*overrides: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return forked.run("evaluate.py", *SHORT, *overrides, folder=cwd)


def gsm8k(folder: Path) -> str:
    rows = [{"question": f"Ann has {n} pens. How many?", "answer": f"#### {n}"} for n in range(6)]
    path = folder / "gsm8k.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"benchmark.gsm8k.path={path}"


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(tmp_path: Path, qwen2_folder: str) -> None:
    overrides = [f"model={qwen2_folder}", "benchmark=[arithmetic,gsm8k]", gsm8k(tmp_path), "data.limit=40", *SLOWLY]
    overrides += ["sampling.samples=2", f"run.root={tmp_path}"]
    evaluation = subprocess.Popen([*COMMAND, *overrides], env=ENVIRONMENT, stderr=subprocess.PIPE)
    responses = None
    end = time.monotonic() + 120
    while responses is None or responses.read_bytes().count(b"\n") < 20:
        assert evaluation.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.05)
        responses = next(tmp_path.glob("evaluations/*/responses.jsonl"), None)
    evaluation.send_signal(signal.SIGKILL)
    evaluation.communicate()
    before = responses.read_bytes()
    made = before.count(b"\n")
    assert 20 <= made < 92
    done = evaluate(*overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{made} of 92 responses already" in done.stderr
    assert responses.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    assert responses.read_bytes().count(b"\n") == 92
    for text in ("arithmetic", "gsm8k", "mean@2", "pass@2", "maj@2", "truncated", "tokens", str(responses.parent)):
        assert text in done.stdout
    results = json.loads((responses.parent / "results.json").read_text())
    assert {name: own["problems"] for name, own in results.items()} == {"arithmetic": 40, "gsm8k": 6}
    again = evaluate(*overrides)
    assert again.stdout == done.stdout
    assert "92 of 92 responses already" in again.stderr
    run = [sys.executable, "-c", "from gmpo.cli.main import main; main()", "responses"]
    run += [f"run={responses.parent}", "count=1"]
    said = subprocess.run(run, env=ENVIRONMENT, capture_output=True, text=True, timeout=60).stdout
    for text in ("best (1)", "worst (", "truncated (1)", "prompt: "):
        assert text in said


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_with_vllm(tmp_path: Path, qwen2_folder: str) -> None:
    done = evaluate(f"model={qwen2_folder}", f"output={tmp_path / 'out'}", "data.limit=8", "sampling.samples=2")
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "out" / "responses.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    assert "arithmetic" in done.stdout


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["benchmark=none"], ["benchmark=none", "choose some"]),
        (["benchmark=gsm8k", "benchmark.gsm8k.path=nowhere.jsonl"], ["nowhere.jsonl", "benchmark.gsm8k.path=FILE"]),
        (["model.path=/nowhere"], ["model.path=/nowhere", "does not exist"]),
        (["pass_k=[2]"], ["pass_k=[2]", "sampling.samples=1"]),
        (["data.limit=0"], ["data.limit=0"]),
        (['sampling.stop=[""]'], ["sampling.stop=['']", "none of them empty"]),
        (["data.system=Add.", "data.template=none"], ["data.system='Add.' has no place in data.template=none"]),
        (["data.chat_template_arguments={thinking: false}"], ["'thinking': False", "reads no 'thinking'"]),
        (["data.chat_template_arguments=no"], ["data.chat_template_arguments=no must be names and values"]),
        (["data.max_prompt_tokens=3"], ["data.max_prompt_tokens=3", "none is left"]),
        (["sampling.max_tokens=480"], ["data.max_prompt_tokens=100 + 480 tokens", "512 positions"]),
        (["rollout.package=not_there"], ["not_there", "make setup"]),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path: Path, qwen2_folder: str, overrides: list[str], said: list[str]) -> None:
    local = ["model=local", f"model.path={qwen2_folder}", f"run.root={tmp_path}"]
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("evaluate", [*SHORT, *local, *SLOWLY, *overrides])
    with pytest.raises(ValueError) as error:  # noqa: PT011, PT012
        check_evaluation(cfg)
        prepare(cfg)
    for text in said:
        assert text in str(error.value)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_an_unknown_benchmark_is_one_clear_error() -> None:
    done = evaluate("benchmark=aime99")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for text in ("aime99", "aime24", "math500"):
        assert text in done.stderr


def test_another_evaluation_s_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    settings = {"model": "some/model", "seed": 0, "sampling": {"temperature": 1.0}}
    with pytest.raises(ValueError, match=f"output={tmp_path} holds something other"):
        open_folder(str(tmp_path), tmp_path, settings)
    folder = str(tmp_path / "out")
    assert open_folder(folder, tmp_path, settings) == open_folder(folder, tmp_path, settings) == tmp_path / "out"
    with pytest.raises(ValueError, match=r"other settings \(seed 0 there and 1 here, sampling .*1.0.* there"):
        open_folder(folder, tmp_path, {**settings, "sampling": {"temperature": 0.5}, "seed": 1})
    named = {open_folder(None, tmp_path, {**settings, "seed": seed}).name for seed in (0, 1, 0)}
    assert len(named) == 2
    assert all(name.startswith("some-model-") for name in named)


@pytest.mark.slow
def test_a_model_of_nan_is_one_sentence(tmp_path: Path, qwen3_folder: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(qwen3_folder)
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    overrides = [f"model={save(model, tmp_path / 'model')}", "data.limit=3", "rollout=transformers"]
    done = evaluate(*overrides, "benchmark=arithmetic", f"run.root={tmp_path}")
    assert done.returncode == 1
    assert "error: the model's logits are not finite: its weights hold NaN" in done.stderr
    assert "Check the tensors of the model's files by torch.isfinite" in done.stderr
    assert "Traceback" not in done.stderr
