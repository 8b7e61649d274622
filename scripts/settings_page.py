"""Write docs/settings.md from the table of settings and the shipped configs: `python scripts/settings_page.py`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, ListConfig, OmegaConf

from gmpo.config.schema import TRAINING
from gmpo.settings.commands import EVALUATE, EXPORT, PLAN, RESPONSES
from gmpo.settings.rows import Section

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

All config keys, each with the values it takes, its unit, its default and a description. `python
scripts/settings_page.py` generates this page from `src/gmpo/settings/` and `configs/`; edit those.

Set a key by `key=value` after a command, or in an experiment's file. A value of another kind is refused before anything
is loaded, in a message with the key, the value and what is expected. A key *to be set* has no default: an experiment
sets it, or you do. A key in brackets gives the default; — marks keys that only other choices of a group have. The keys
of a data set also occur below `data.gsm8k`, `data.math` and `benchmark.NAME`. A class of your own needs no row here:
its keys take what its arguments' annotations say.
"""
GROUPS = ("model=local", "data=files", "reward=math", "objective=grpo", "correction=truncated")


def page() -> str:
    """Return the page."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        training = compose("train", list(GROUPS))
        others = {name: compose(name) for name in ("evaluate", "plan", "export", "responses")}
    sections = [(section, training) for section in TRAINING]
    own = {"evaluate": EVALUATE, "plan": PLAN, "export": EXPORT, "responses": RESPONSES}
    sections += [(section, others[name]) for name, section in own.items()]
    return "\n".join([HEAD, *(text for section, cfg in sections for text in table(section, cfg))])


def table(section: Section, cfg: DictConfig) -> Iterator[str]:
    """Yield the lines of a section."""
    yield f"## {section.title}\n"
    yield "| key | takes | unit | default | what it is |\n|---|---|---|---|---|"
    for key, row in section.rows.items():
        cells = (f"`{key}`", str(row.kind), row.unit, default(cfg, key), row.text)
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield ""


def default(cfg: DictConfig, key: str) -> str:
    """Return the value of a key as a person would type it."""
    place, _, last = key.rpartition(".")
    part = OmegaConf.select(cfg, place) if place else cfg
    if not isinstance(part, DictConfig) or last not in list(part):  # `in` alone finds no ???
        return "—"
    if OmegaConf.is_missing(part, last):
        return "*to be set*"
    return shown(part._get_node(last)._value() if OmegaConf.is_interpolation(part, last) else part[last])


def shown(value: Any) -> str:
    """Return a value as YAML has it, what refers to another key in brackets."""
    if isinstance(value, str) and value.startswith("${"):
        return "*computed*" if ":" in value else f"({value[2:-1]})"
    if isinstance(value, DictConfig | ListConfig):
        return f"`{OmegaConf.to_container(value)}`" if value else f"`{'{}' if isinstance(value, DictConfig) else '[]'}`"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
