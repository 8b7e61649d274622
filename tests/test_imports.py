"""Imports point one way, and vLLM is known in one place."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
ORDER = [
    (
        *("launch", "layout", "signals", "redaction", "checkpoints", "random_state", "requeue"),
        *("failures", "model_files", "model_shape", "tile_size", "run_log"),
    ),
    ("types", "config", "clock", "command", "loggers", "record", "run_folder", "screen"),
    ("rewards", "advantages", "objectives", "batching"),
    ("data", "rollout", "parallel"),
    ("policy", "evaluation", "planning"),
    ("callbacks",),
    ("resume",),
    ("training", "evaluating"),
]
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
STRANGERS = {("policy", "rollout")}  # the order alone would allow it
Import = tuple[str, str]  # module, what it imports


def imports() -> list[Import]:
    found = []
    for path in sorted((SOURCE / "gmpo").rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        found += [(module, name) for name in imported(ast.parse(path.read_text()))]
    return found


def imported(tree: ast.Module) -> Iterable[str]:
    """All that a module imports, inside functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(found: Iterable[Import]) -> list[Import]:
    return [(module, name) for module, name in found if not _allowed(module.split("."), name.split("."))]


def _allowed(module: list[str], name: list[str]) -> bool:
    if name[0] == "vllm":
        return module[:2] == ["gmpo", "rollout"] and module[-1].startswith("vllm")
    if name[0] != "gmpo":
        return True
    if len(module) < 2 or len(name) < 2:  # the package itself holds nothing but its version
        return False
    own, other = module[1], name[1]
    if own not in LEVEL or other not in LEVEL:
        return False
    return own == other or (LEVEL[other] < LEVEL[own] and (own, other) not in STRANGERS)


def test_every_module_has_a_place_in_the_order() -> None:
    parts = {path.stem for path in (SOURCE / "gmpo").iterdir() if path.stem[0] != "_" and path.name[0] != "."}
    assert parts <= LEVEL.keys()


def test_imports_point_one_way() -> None:
    found = imports()
    assert ("gmpo.training", "gmpo.run_folder") in found
    assert ("gmpo.rollout.vllm", "vllm.LLM") in found
    assert violations(found) == []


@pytest.mark.parametrize(
    "wrong",
    [
        ("gmpo.types", "gmpo.config.check"),
        ("gmpo.config", "gmpo.types.Prompt"),
        ("gmpo.rewards.math", "gmpo.data.sources.Question"),
        ("gmpo.advantages", "gmpo.objectives.GMPO"),
        ("gmpo.data.stream", "gmpo.rollout.engine.Engine"),
        ("gmpo.rollout.vllm", "gmpo.data.MathDataModule"),
        ("gmpo.parallel.mesh", "gmpo.data.MathDataModule"),
        ("gmpo.rollout.transformers", "gmpo.policy.model.load_model"),
        ("gmpo.policy.module", "gmpo.rollout.engine.Engine"),
        ("gmpo.policy.module", "gmpo.evaluation.metrics.pass_at_k"),
        ("gmpo.policy.module", "gmpo.callbacks.RolloutCallback"),
        ("gmpo.callbacks.rollout", "gmpo.training.prepare"),
        ("gmpo.data.stream", "gmpo.new_package.thing"),
        ("gmpo.rollout.weight_sync", "vllm.LLM"),
        ("gmpo.policy.vllm", "vllm"),
    ],
)
def test_violation_is_caught(wrong: Import) -> None:
    assert violations([("gmpo.callbacks.rollout", "gmpo.types.Prompt"), wrong]) == [wrong]


@pytest.mark.parametrize(
    "source",
    [
        "import vllm",
        "import vllm.config as c",
        "from vllm import LLM",
        "def f():\n    from vllm import LLM\n",
    ],
)
def test_import_is_seen_wherever_it_stands(source: str) -> None:
    found = [("gmpo.policy.module", name) for name in imported(ast.parse(source))]
    assert violations(found) == found
