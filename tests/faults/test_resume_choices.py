"""Which run a command resumes: resume=auto, never, a run's folder, a checkpoint."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from short_runs import responses, rows, run, start, steps_saved

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, finished; `copy` it."""
    return run(qwen2_folder, tmp_path_factory.mktemp("made"), "run.steps=4", "checkpoint.keep=9")


@pytest.fixture(scope="module")
def longer(qwen2_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run of six steps."""
    return run(qwen2_folder, tmp_path_factory.mktemp("longer"))


def test_a_finished_run_is_left_and_the_next_name_taken(qwen2_folder: str, tmp_path: Path) -> None:
    first = run(qwen2_folder, tmp_path, "run.steps=1", "run.validate_every=null")
    before = rows(first)
    second = start(qwen2_folder, tmp_path, "run.steps=1", "run.validate_every=null")
    assert second.wait() == 0
    assert f"{first} is finished; leaving it untouched" in second.said()
    assert rows(tmp_path / "quickstart-2") == before == rows(first)


def test_other_settings_are_another_run(qwen2_folder: str, tmp_path: Path) -> None:
    short = ("run.steps=3", "run.validate_every=null")
    cut = start(
        qwen2_folder,
        tmp_path,
        *short,
        "+callbacks.dies._target_=die_at.DieAt",
        "+callbacks.dies.function=gmpo.policy.update.Update.__call__",
        "+callbacks.dies.call=5",
    )
    cut.wait()
    other = start(qwen2_folder, tmp_path, *short, "optimizer.lr=1e-3")
    assert other.wait() == 0, other.said()
    assert "unfinished but was started with different settings (optimizer.lr was 0.01, is 0.001)" in other.said()
    assert len(rows(tmp_path / "quickstart-2")) == 3
    same = start(qwen2_folder, tmp_path, *short, "checkpoint.every=1", "cluster.threads=2", "~callbacks.progress")
    assert same.wait() == 0, same.said()
    assert f"resuming {tmp_path / 'quickstart'} after step 2 of 3" in same.said()


def test_never_begins_anew(qwen2_folder: str, tmp_path: Path, made: Path) -> None:
    unfinished = tmp_path / "quickstart"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_bytes((made / "config.yaml").read_bytes())
    begun = start(qwen2_folder, tmp_path, "resume=never", "run.steps=1", "run.validate_every=null")
    assert begun.wait() == 0, begun.said()
    assert len(rows(tmp_path / "quickstart-2")) == 1


def test_a_run_s_folder_goes_on_there_with_more_steps(qwen2_folder: str, tmp_path: Path, longer: Path) -> None:
    folder = run(qwen2_folder, tmp_path, "run.steps=4")
    more = start(qwen2_folder, tmp_path, f"resume={folder}")
    assert more.wait() == 0, more.said()
    assert f"resuming {folder} after step 4 of 6" in more.said()
    assert rows(folder) == rows(longer)
    assert responses(folder) == responses(longer)


def test_a_checkpoint_goes_on_under_another_name(qwen2_folder: str, tmp_path: Path, made: Path, longer: Path) -> None:
    before = rows(made)
    fork = start(qwen2_folder, tmp_path, f"resume={made / 'checkpoints' / 'step-2'}")
    assert fork.wait() == 0, fork.said()
    assert rows(made) == before
    assert steps_saved(made) == [2, 4]
    assert rows(tmp_path / "quickstart") == rows(longer)
    assert responses(tmp_path / "quickstart") == responses(longer)


@pytest.mark.parametrize("call", [2, 5])
def test_a_fork_that_was_killed_goes_on_with_the_same_command(
    qwen2_folder: str, tmp_path: Path, made: Path, longer: Path, call: int
) -> None:
    """Before its first checkpoint, and after it."""
    fork = f"resume={made / 'checkpoints' / 'step-2'}"
    dies = ("+callbacks.dies._target_=die_at.DieAt", f"+callbacks.dies.call={call}")
    killed = start(qwen2_folder, tmp_path, fork, *dies, "+callbacks.dies.function=gmpo.policy.update.Update.__call__")
    assert killed.wait() == -signal.SIGKILL, killed.said()
    again = start(qwen2_folder, tmp_path, fork)
    assert again.wait() == 0, again.said()
    assert (rows(tmp_path / "quickstart"), responses(tmp_path / "quickstart")) == (rows(longer), responses(longer))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["resume={made}"], "has made 4 rollout steps and run.steps=4: raise run.steps"),
        (["resume={made}/checkpoints/step-4", "run.steps=3"], "has made 4 rollout steps and run.steps=3"),
        (["resume={made}/rollouts"], "is neither auto, never, a run's folder (with config.yaml) nor a checkpoint"),
        ([f"run.name={'a' * 300}"], "cannot be written (File name too long): choose another by run.root"),
        (["checkpoint.every=0"], "checkpoint.every=0 must be a whole number of at least 1"),
        (["checkpoint.best=reward"], "checkpoint.best=reward is no metric's name"),
        (["checkpoint.mode=most"], "checkpoint.mode=most must be max or min"),
        (["checkpoint.grace=0"], "checkpoint.grace=0 must be a number above 0"),
        (["model.trust_remote_code=yes please"], "model.trust_remote_code=yes please must be true or false"),
        (["callbacks.final_model.folder=/tmp/elsewhere"], "outside the run's folder"),
        (["logger.csv.folder=${run.folder}/../x"], "outside the run's folder"),
        (["logger.tensorboard.version=../../x"], "outside the run's folder"),
        (["logger.tensorboard.name=/tmp/x"], "outside the run's folder"),
        (["logger=mlflow", "logger.mlflow.tracking_uri=sqlite:///elsewhere/mlflow.db"], "outside the run's folder"),
        (["logger=mlflow", "logger.mlflow.artifact_location=file:///tmp/x"], "outside the run's folder"),
        (["rollout.timeout=0"], "rollout.timeout=0 must be a number above 0"),
        (["guards.on_violation=cry"], "guards.on_violation=cry must be warn or stop"),
    ],
)
def test_bad_input(qwen2_folder: str, tmp_path: Path, made: Path, overrides: list[str], said: str) -> None:
    refused = start(qwen2_folder, tmp_path, "run.steps=4", *(text.replace("{made}", str(made)) for text in overrides))
    assert refused.wait() == 1
    assert said in refused.said()
    assert "Traceback" not in refused.said()
    assert [path.name for path in tmp_path.iterdir()] == ["output-0"], "nothing is left behind"


def test_the_best_is_kept_beside_the_newest(qwen2_folder: str, tmp_path: Path) -> None:
    best = ("checkpoint.best=val/arithmetic/mean@1", "checkpoint.mode=min", "checkpoint.keep=1")
    folder = run(qwen2_folder, tmp_path, *best, "checkpoint.every=100", "run.validate_every=1")
    values = {int(row["rollout_step"]): float(row["val/arithmetic/mean@1"]) for row in rows(folder)[1:]}
    best_step = max(step for step, value in values.items() if value == min(values.values()))
    assert steps_saved(folder) == sorted({best_step, 6})


@pytest.mark.parametrize(
    ("best", "settings"),
    [
        ("val/arithmetic/mean@8", ("run.validate_every=1",)),
        ("val/gsm8k/mean@1", ("run.validate_every=3",)),
        ("reward/meen", ("run.validate_every=null",)),
    ],
)
def test_a_best_that_never_comes_ends_the_run_before_anything_is_pruned(
    qwen2_folder: str, tmp_path: Path, best: str, settings: tuple[str, ...]
) -> None:
    ended = start(
        qwen2_folder, tmp_path, f"checkpoint.best={best}", "checkpoint.keep=1", "checkpoint.every=1", *settings
    )
    assert ended.wait() == 1, ended.said()
    assert f"error: checkpoint.best={best} is no metric of this run" in ended.said()
    assert ("reward/mean" if "reward" in best else "val/arithmetic/mean@1") in ended.said().splitlines()[-1]
    assert len(rows(tmp_path / "quickstart")) == 1


def test_a_best_that_never_comes_is_found_where_a_run_is_resumed(qwen2_folder: str, tmp_path: Path, made: Path) -> None:
    copy = tmp_path / "quickstart"
    shutil.copytree(made, copy)
    ended = start(qwen2_folder, tmp_path, f"resume={copy}", "checkpoint.best=val/x/mean@1", "checkpoint.keep=1")
    assert ended.wait() == 1, ended.said()
    assert "checkpoint.best=val/x/mean@1 is no metric of this run" in ended.said()
    assert steps_saved(copy) == [2, 4]


def test_the_optimizer_s_class_cannot_change_where_a_run_is_resumed(
    qwen2_folder: str, tmp_path: Path, made: Path
) -> None:
    sgd = ("optimizer._target_=torch.optim.SGD", "~optimizer.betas")
    for place in (made, made / "checkpoints" / "step-2"):
        refused = start(qwen2_folder, tmp_path, f"resume={place}", *sgd)
        assert refused.wait() == 1
        assert "its optimizer was torch.optim.AdamW, and this run's is torch.optim.SGD" in refused.said()
        assert "Traceback" not in refused.said()


def test_new_rates_hold_where_a_run_is_resumed(qwen2_folder: str, tmp_path: Path, made: Path) -> None:
    """Warm-up over 10 optimizer steps from a tenth, two updates a step: the rate after step n is that of 2n."""
    fork = start(qwen2_folder, tmp_path, f"resume={made / 'checkpoints' / 'step-2'}", "optimizer.lr=5e-3")
    assert fork.wait() == 0, fork.said()
    assert "settings differ from those of the run: optimizer.lr was 0.01, is 0.005" in fork.said()
    rates = {int(row["rollout_step"]): row["policy/learning_rate"] for row in rows(tmp_path / "quickstart")[1:]}
    expected = [
        rate * min(1, 0.1 + 0.9 * 2 * step / 10)
        for step, rate in zip(range(1, 7), [1e-2] * 2 + [5e-3] * 4, strict=True)
    ]
    assert [float(rates[step]) for step in range(1, 7)] == pytest.approx(expected)


def test_fewer_steps_than_were_made_are_refused(qwen2_folder: str, tmp_path: Path) -> None:
    folder = run(qwen2_folder, tmp_path, "run.steps=4", "run.validate_every=null")
    (folder / "finished").unlink()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("steps: 4", "steps: 9"))
    fewer = start(qwen2_folder, tmp_path, "run.steps=2", "run.validate_every=null")
    assert fewer.wait() == 1
    assert "has made 4 of its 9 rollout steps, and run.steps=2: raise it to resume" in fewer.said()
    assert not (folder / "finished").exists()


def test_a_run_from_before_there_were_checkpoints_is_left(qwen2_folder: str, tmp_path: Path) -> None:
    folder = run(qwen2_folder, tmp_path, "run.steps=1", "run.validate_every=null")
    (folder / "finished").unlink()
    old = OmegaConf.load(folder / "config.yaml")
    del old["checkpoint"]
    OmegaConf.save(old, folder / "config.yaml")
    before = rows(folder)
    again = start(qwen2_folder, tmp_path, "run.steps=1", "run.validate_every=null")
    assert again.wait() == 0, again.said()
    assert "was made before there were checkpoints; leaving it untouched" in again.said()
    assert rows(folder) == before


def test_time_alone_saves_too(qwen2_folder: str, tmp_path: Path) -> None:
    settings = ("checkpoint.every=100", "checkpoint.minutes=0.0001", "checkpoint.keep=9", "run.steps=3")
    assert steps_saved(run(qwen2_folder, tmp_path, *settings)) == [1, 2, 3]


def test_a_resumed_run_writes_what_versions_it_was_saved_with(qwen2_folder: str, tmp_path: Path, made: Path) -> None:
    copy = tmp_path / "copy" / "checkpoints" / "step-2"
    copy.mkdir(parents=True)
    for path in (made / "checkpoints" / "step-2").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((copy / "checkpoint.json").read_text())
    assert {"torch", "lightning", "transformers", "gmpo"} <= manifest["versions"].keys()
    manifest["versions"]["torch"] = "1.0"
    (copy / "checkpoint.json").write_text(json.dumps(manifest))
    again = start(qwen2_folder, tmp_path, f"resume={copy}", "run.steps=3", "run.validate_every=null")
    assert again.wait() == 0, again.said()
    assert "checkpoint written with other packages (torch 1.0): the numbers may differ" in again.said()
