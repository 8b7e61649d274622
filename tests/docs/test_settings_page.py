"""docs/settings.md is what the table of settings says, and the table has every setting of configs/train.yaml."""

import runpy
from collections.abc import Iterator

import yaml
from conftest import ROOT

from gmpo.config.schema import OF_TRAINING, find_row


def leaves(node: dict[str, object], place: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{place}{key}.")
        elif not key.startswith("_"):
            yield f"{place}{key}"


def test_the_page_is_current() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))
    assert (ROOT / "docs" / "settings.md").read_text() == script["page"](), "run python scripts/settings_page.py"


def test_every_setting_of_a_training_has_a_row() -> None:
    written = yaml.safe_load((ROOT / "configs" / "train.yaml").read_text())
    settings = [key for name in written.keys() - {"defaults", "hydra"} for key in leaves({name: written[name]})]
    assert len(settings) > 50
    assert [key for key in settings if find_row(key, OF_TRAINING) is None] == []
