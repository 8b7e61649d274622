"""Imports point one way, and vLLM is known in one place."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

SOURCE = Path(__file__).resolve().parents[1] / "src"
LAYERS = [  # bottom up: a room may import those of the layers below it, and itself
    ("compat",),
    ("types", "checkpoint", "advantages"),
    ("objectives", "batching"),
    ("parallel",),
    ("metrics",),
    ("run",),
    ("verifier", "cli"),
    ("rewards", "data"),
    ("models", "rollout"),
    ("settings",),
    ("config",),
    ("policy", "evaluation"),
    ("planning", "callbacks"),
    ("training",),
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
STRANGERS = {("policy", "rollout"), ("policy", "rewards")}  # the order alone would allow it
LEAVES = {"gmpo.run.errors"}  # imports nothing of the project, and every layer raises them
SCRIPTS = ("gmpo.cli.main",)  # what train.py and the others call: imports any room, and none imports it
TORCH_FREE = (
    "gmpo.settings.run",
    "gmpo.cli.main",
    "gmpo.config",
    "gmpo.planning.plan",
    "gmpo.planning.fitting",
    "gmpo.verifier.equivalence",
)
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
    if ".".join(name[:3]) in SCRIPTS:
        return False
    if ".".join(name[:3]) in LEAVES or ".".join(module) in SCRIPTS:
        return True
    room, other = module[1], name[1]
    if room not in LEVEL or other not in LEVEL:
        return False
    return room == other or (LEVEL[other] < LEVEL[room] and (room, other) not in STRANGERS)


def test_every_room_has_a_layer() -> None:
    parts = {path.stem for path in (SOURCE / "gmpo").iterdir() if path.stem[0] != "_" and path.name[0] != "."}
    assert parts <= LEVEL.keys()


def test_imports_point_one_way() -> None:
    found = imports()
    assert ("gmpo.training", "gmpo.run.folder") in found
    assert ("gmpo.rollout.vllm", "vllm.LLM") in found
    assert violations(found) == []


def test_leaves_import_nothing_of_the_project() -> None:
    assert [found for found in imports() if found[0] in LEAVES and found[1].startswith("gmpo")] == []


def test_modules_import_each_other_one_way() -> None:
    modules = {module for module, _ in imports()}
    graph = {module: set[str]() for module in modules}
    for module, name in imports():
        target = name if name in modules else name.rpartition(".")[0]
        if target in modules and target != module:
            graph[module].add(target)
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


def test_settings_plans_and_answers_need_no_torch() -> None:
    """The planner and the checks of a config answer in a second, and a worker of the verifier is small."""
    code = f"import sys, importlib; sys.modules['torch'] = None; [importlib.import_module(m) for m in {TORCH_FREE}]"
    for package in ("gmpo.config", "gmpo.verifier", "gmpo.planning"):
        assert any(module.startswith(package) for module in TORCH_FREE)
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


@pytest.mark.parametrize(
    "wrong",
    [
        ("gmpo.types", "gmpo.config.check"),
        ("gmpo.config", "gmpo.planning.plan.Plan"),
        ("gmpo.verifier.equivalence", "gmpo.rewards.math.MathReward"),
        ("gmpo.rewards.math", "gmpo.data.dataset.Question"),
        ("gmpo.advantages", "gmpo.objectives.GMPO"),
        ("gmpo.data.stream", "gmpo.rollout.engine.Engine"),
        ("gmpo.rollout.vllm", "gmpo.models.pretrained.Pretrained"),
        ("gmpo.parallel.mesh", "gmpo.data.MathDataModule"),
        ("gmpo.models.export", "gmpo.policy.module.PolicyModule"),
        ("gmpo.policy.module", "gmpo.evaluation.metrics.pass_at_k"),
        ("gmpo.policy.module", "gmpo.rollout.engine.Engine"),
        ("gmpo.policy.module", "gmpo.callbacks.RolloutCallback"),
        ("gmpo.callbacks.rollout", "gmpo.training.prepare"),
        ("gmpo.training", "gmpo.cli.main.run"),
        ("gmpo.cli.responses", "gmpo.config.check"),
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
