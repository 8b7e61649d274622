"""Every `data=` and `benchmark=` as Hydra composes it: the classes that come out, and the keys that a person types."""

import dataclasses
import inspect
from pathlib import Path

import pyarrow.parquet
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gmpo.data import ArithmeticDataset, MathDataModule, MixedDataset, ProblemDataset
from gmpo.data.selection import Question
from gmpo.models.tiny import character_tokenizer

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).with_name("files")
DATA = sorted(path.stem for path in (ROOT / "configs" / "data").glob("*.yaml"))
BENCHMARKS = sorted(path.stem for path in (ROOT / "configs" / "benchmark").glob("*.yaml"))
PRIMARY = """\
defaults:
  - _self_
  - data: arithmetic
  - benchmark: none
hydra:
  searchpath: ["file://{configs}"]
datamodule:
  _target_: gmpo.data.MathDataModule
  _convert_: all
  dataset: ${{data.dataset}}
  benchmarks: ${{benchmark}}
  template: none
  max_prompt_tokens: ${{data.max_prompt_tokens}}
  long_prompts: drop
  prompts_per_step: 2
  steps: 1
  seed: 0
"""


@pytest.fixture
def primary(tmp_path: Path) -> Path:
    """A config of these two groups and the DataModule."""
    (tmp_path / "primary.yaml").write_text(PRIMARY.format(configs=ROOT / "configs"))
    return tmp_path


def composed(primary: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(primary), version_base="1.3"):
        return compose("primary", [*overrides])


def datamodule(primary: Path, *overrides: str) -> MathDataModule:
    """Instantiated from the config as a run saves it."""
    cfg = composed(primary, *overrides)
    made = instantiate(cfg.datamodule, tokenizer=character_tokenizer())
    assert isinstance(made, MathDataModule)
    again = OmegaConf.create(OmegaConf.to_yaml(cfg, resolve=True))
    assert instantiate(again.data.dataset) == made.dataset
    return made


def dataset(primary: Path, *overrides: str) -> ProblemDataset:
    made = datamodule(primary, *overrides).dataset
    assert isinstance(made, ProblemDataset)
    return made


@pytest.mark.parametrize("choice", DATA)
def test_every_data_set_instantiates_without_loading(primary: Path, choice: str) -> None:
    made = datamodule(
        primary, f"data={choice}", *(["data.path=x.jsonl"] if choice in ("files", "verl") else [])
    ).dataset
    assert made.name == choice
    assert made == made
    assert isinstance(made, ArithmeticDataset | MixedDataset | ProblemDataset)


@pytest.mark.parametrize("choice", BENCHMARKS)
def test_every_benchmark_instantiates_without_loading(primary: Path, choice: str) -> None:
    given = ["benchmark.files.path=x.jsonl"] if choice == "files" else []
    made = datamodule(primary, f"benchmark={choice}", *given).benchmarks
    assert isinstance(made, dict)
    assert [*made] == ([] if choice == "none" else [choice])
    for name, benchmark in made.items():
        assert benchmark.name == name
        if isinstance(benchmark, ProblemDataset):
            assert benchmark.node == f"benchmark.{name}"
            assert benchmark.hub_id or choice == "files"
            assert benchmark.train_split is None
            assert benchmark.duplicates == "drop"


def test_benchmarks_merge(primary: Path) -> None:
    made = datamodule(primary, "benchmark=[aime24,math500,arithmetic]", "benchmark.math500.path=x.jsonl").benchmarks
    assert made
    assert [*made] == ["aime24", "math500", "arithmetic"]
    assert made["math500"].path == "x.jsonl"  # type: ignore[attr-defined]


def test_the_files_of_benchmarks(primary: Path) -> None:
    files = {name: FILES / name / "test.jsonl" for name in ("aime24", "amc23", "math500", "gsm8k")}
    sizes = {name: len(path.read_text().splitlines()) for name, path in files.items()}
    paths = [f"benchmark.{name}.path={path}" for name, path in files.items()]
    made = datamodule(primary, f"benchmark=[{','.join(sizes)}]", *paths).benchmarks
    assert made
    assert {name: len(benchmark.questions("validation")) for name, benchmark in made.items()} == sizes


def test_arithmetic_is_the_one_of_the_data_set(primary: Path) -> None:
    made = datamodule(primary, "data=arithmetic", "benchmark=arithmetic")
    assert made.benchmarks
    assert made.benchmarks["arithmetic"].questions("validation") == made.dataset.questions("validation")


def test_data_sets_differ_where_they_should(primary: Path) -> None:
    gsm8k, math, hard, dapo = (
        dataset(primary, f"data={name}") for name in ("gsm8k", "math", "math_lvl3to5", "dapo_math_17k")
    )
    assert (gsm8k.hub_id, gsm8k.hub_config, gsm8k.result) == ("openai/gsm8k", "main", "after_hashes")
    assert (math.hub_id, math.answer, math.result, math.levels) == (
        "DigitalLearningGmbH/MATH-lighteval",
        "solution",
        "boxed",
        None,
    )
    assert dataclasses.replace(hard, name="math", levels=None) == math
    assert [*(hard.levels or ())] == [3, 4, 5]
    assert (dapo.validation_split, dapo.held_out, dapo.instruction) == (None, 256, "keep")
    mixed = datamodule(primary, "data=gsm8k_math").dataset
    assert isinstance(mixed, MixedDataset)
    assert {name: dataclasses.replace(one, node="data") for name, one in mixed.datasets.items()} == {  # type: ignore[type-var]
        "gsm8k": gsm8k,
        "math": math,
    }


def test_dapo_wrapping_is_that_of_the_file(primary: Path) -> None:
    path = FILES / "dapo_math_schema" / "train.parquet"
    total = pyarrow.parquet.read_metadata(path).num_rows // 3  # each problem stands there three times
    cut = dataset(primary, "data=dapo_math_17k", f"data.path={path}", "data.instruction=replace", "data.held_out=20")
    kept = dataset(primary, "data=dapo_math_17k", f"data.path={path}", "data.held_out=20")
    for split, count in (("train", total - 20), ("validation", 20)):
        pairs = [*zip(cut.questions(split), kept.questions(split), strict=True)]  # type: ignore[arg-type]
        assert len(pairs) == count
        for bare, whole in pairs:
            assert whole.text.startswith("Solve the following math problem step by step. The last line of your ")
            assert whole.text.endswith('\n\nRemember to put your answer on its own line after "Answer:".')
            assert bare.text == bare.text.strip() != ""
            assert f"is the answer to the problem.\n\n{bare.text}\n\nRemember" in whole.text


NAMED_IN_MESSAGES = {
    *("path", "hub_id", "hub_config", "validation_split", "question", "answer", "question_format", "result"),
    *("empty_answers", "duplicates", "leave_out", "validation_path", "held_out"),
}


@pytest.mark.parametrize("choice", [name for name in BENCHMARKS if name not in ("arithmetic", "none")])
def test_every_option_that_a_message_names_is_a_key_of_a_benchmark(primary: Path, choice: str) -> None:
    assert composed(primary, f"benchmark={choice}").benchmark[choice].keys() >= NAMED_IN_MESSAGES


def test_and_of_each_part_of_a_mixture(primary: Path) -> None:
    data = composed(primary, "data=gsm8k_math").data
    for part in (data.gsm8k, data.math):
        assert part.keys() >= NAMED_IN_MESSAGES


@pytest.mark.parametrize("choice", [name for name in DATA if name not in ("arithmetic", "gsm8k_math")])
def test_every_option_is_a_key(primary: Path, choice: str) -> None:
    """`data.OPTION=VALUE` reaches the dataset, and what the config leaves alone is the class's default."""
    cfg = composed(primary, f"data={choice}").data
    options = {field.name for field in dataclasses.fields(ProblemDataset)} - {"node"}
    assert options <= cfg.keys()
    assert options <= cfg.dataset.keys()
    if choice == "files":
        defaults = {
            name: p.default for name, p in inspect.signature(ProblemDataset).parameters.items() if name != "name"
        }
        assert {name: cfg[name] for name in defaults if name != "node"} == {
            name: value for name, value in defaults.items() if name != "node"
        }
    made = dataset(
        primary,
        f"data={choice}",
        "data.path=a.jsonl",
        "data.validation_path=b.jsonl",
        "data.levels=[1,2]",
        "data.empty_answers=drop",
        "data.duplicates=keep",
        "data.held_out=7",
        "data.leave_out={answer: [proof, null], extra_info.kind: open}",
    )
    assert made.leave_out == {"answer": ["proof", None], "extra_info.kind": "open"}
    assert (made.path, made.validation_path, [*(made.levels or ())]) == ("a.jsonl", "b.jsonl", [1, 2])
    assert (made.empty_answers, made.duplicates, made.held_out) == ("drop", "keep", 7)


def test_each_data_set_of_rows_has_the_defaults_of_the_class(primary: Path) -> None:
    """They stand in two files: for those that a person names by `data.KEY`, and under each benchmark."""
    base = OmegaConf.load(ROOT / "configs" / "problem_dataset.yaml")
    own = inspect.signature(ProblemDataset).parameters
    assert {key: base[key] for key in own if key not in ("name", "node")} == {
        key: parameter.default for key, parameter in own.items() if key not in ("name", "node")
    }


def test_problems_in_verl_s_format(primary: Path) -> None:
    path = FILES / "verl" / "train.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    questions = dataset(primary, "data=verl", f"data.path={path}").questions("train")
    assert len(questions) == len(rows)
    for question, row in zip(questions, rows, strict=True):
        chat, answer = tuple(row["prompt"]), row["reward_model"]["ground_truth"]
        assert (question.text, question.answer, question.benchmark_name) == (chat[1]["content"], answer, "verl")
        assert question.chat == chat


@pytest.mark.parametrize("name", ["files", "mine"])
def test_problems_of_one_s_own_as_a_benchmark(primary: Path, name: str) -> None:
    path = primary / "mine.csv"
    path.write_text("q,gold\n1+1,2\n2+2,4\n")
    options = [f"benchmark.files.{key}" for key in (f"path={path}", "question=q", "answer=gold", f"name={name}")]
    made = datamodule(primary, "benchmark=[files,math500]", *options).benchmarks
    assert made
    assert made["files"].questions("validation") == [Question("1+1", "2", name), Question("2+2", "4", name)]


def test_paths_of_the_parts_of_a_mixture(primary: Path) -> None:
    made = datamodule(
        primary, "data=gsm8k_math", "data.gsm8k.path=a.jsonl", "data.math.path=b.jsonl", "data.math.levels=[5]"
    ).dataset
    assert isinstance(made, MixedDataset)
    gsm8k, math = made.datasets["gsm8k"], made.datasets["math"]
    assert isinstance(gsm8k, ProblemDataset)
    assert isinstance(math, ProblemDataset)
    assert (gsm8k.path, math.path, [*(math.levels or ())]) == ("a.jsonl", "b.jsonl", [5])
    with pytest.raises(ValueError, match=r"data\.math\.path=FILE"):
        math.questions("train")
