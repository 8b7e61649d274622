"""Every key, choice and metric that a page names is there."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from gmpo.callbacks.throughput import STAGES

CONFIGS = ROOT / "configs"
MADE = ("log", "settings")  # of entries that stay as they were; by scripts/settings_page.py, which has its own test
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.stem not in MADE),
]
SOURCE = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
GROUPS = {folder.name: {path.stem for path in folder.glob("*.yaml")} for folder in CONFIGS.iterdir() if folder.is_dir()}
PLACEHOLDERS = {"NAME", "ARGUMENT"}
OWN = {  # what docs/extending.md adds
    *("reward=near_miss", "objective=power_mean", "data=remainders", "benchmark=remainders", "rollout=stopwatch"),
    *("reward=short_answer", "objective=plain", "objective.power", "reward.share"),
}


def paths(node: Mapping[str, object], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if not key.startswith("override "):
            yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


def laid_under(config: Mapping[str, object]) -> Iterator[str]:
    """The keys of files at the root that a choice lays under a node of its own: /FILE@NODE."""
    for entry in config.get("defaults", ()):  # type: ignore[attr-defined]
        if isinstance(entry, str) and entry.startswith("/"):
            file, _, node = entry[1:].partition("@")
            yield from (f"{node}.{key}" for key in whole(file))


def whole(file: str) -> Iterator[str]:
    """The keys of a file at the root, and of those that it goes out from."""
    config = yaml.safe_load((CONFIGS / f"{file}.yaml").read_text())
    yield from paths(config, "")
    for entry in config.get("defaults", ()):
        if isinstance(entry, str) and entry != "_self_":
            yield from whole(entry)


def all_keys() -> set[str]:
    """Of every config and every choice of a group, in whatever combination."""
    keys = set(GROUPS)
    for path in CONFIGS.glob("*.yaml"):
        config = yaml.safe_load(path.read_text())
        if "hydra" in config:  # a command's; others are laid under a node of their own
            keys |= set(paths(config, ""))
    for group in GROUPS:
        for path in (CONFIGS / group).glob("*.yaml"):
            config = yaml.safe_load(path.read_text()) or {}
            of_all = group in ("experiment", "wiring")  # the keys in their files are whole ones
            keys |= set(paths(config, "" if of_all else f"{group}."))
            keys |= {f"{group}.{key}" for key in laid_under(config)}
    return keys


KEYS = all_keys()
SECTIONS = {key.partition(".")[0] for key in KEYS}
METRICS = {"reward", "rollout", "policy", "time", "throughput", "val"}


def named(page: str) -> Iterator[str]:
    """What stands between backticks, and the words of commands, of blocks too."""
    text = (ROOT / page).read_text()
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    commands = [line for line in text.splitlines() if re.match(r"\s*(\S+ )*(\S*python|torchrun|srun) .*\.py ", line)]
    for found in (*spans, *commands):
        yield from (word.strip("'\"") for word in found.split())


def wrong(word: str) -> bool:
    """Whether it looks like a key or a choice, and is none."""
    key, equals, value = word.partition("=")
    if not re.fullmatch(r"[a-z_]+(\.[a-zA-Z_0-9]+)*", key) or not (equals or "." in key):
        return False
    if {word, key} & OWN or key.partition(".")[0] not in SECTIONS or key.endswith((".py", ".csv", ".yaml", ".json")):
        return False
    if PLACEHOLDERS & set(key.split(".")) or key.startswith(("rollout@", "hydra.launcher")):
        return False
    if key in GROUPS and key != "model" and re.fullmatch(r"[a-z_0-9]+|\[[a-z_0-9,]+\]", value):
        return not set(value.strip("[]").split(",")) <= GROUPS[key]
    return key not in KEYS


def is_metric(word: str) -> bool:
    return re.fullmatch(r"[a-z]+/[a-z_]+", word) is not None and word.partition("/")[0] in METRICS


def logged(metric: str) -> bool:
    group, _, name = metric.partition("/")
    return f'"{metric}"' in SOURCE or (group == "time" and name in STAGES) or f'"{name}"' in SOURCE


@pytest.mark.parametrize("page", PAGES)
def test_the_keys_and_choices_of_a_page_exist(page: str) -> None:
    assert [word for word in named(page) if wrong(word)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_metrics_of_a_page_are_logged(page: str) -> None:
    own = {"reward/near_miss"}
    assert [word for word in named(page) if is_metric(word) and word not in own and not logged(word)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / page).read_text()):
        name, _, anchor = target.partition("#")
        path = Path(ROOT, page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, target


@pytest.mark.parametrize("word", ["rollout.max_sequence", "objective=gmop", "benchmark=[aime24,amc]", "run.step=3"])
def test_a_wrong_name_is_seen(word: str) -> None:
    assert wrong(word)


def test_names_are_found() -> None:
    found = set(named("docs/troubleshooting.md"))
    assert {"rollout.engine.gpu_memory_utilization", "resume=RUN", "policy/grad_norm"} <= found
    assert not logged("policy/grad_nrom")
