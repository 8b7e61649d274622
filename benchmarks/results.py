"""Write a benchmark's figures: `--json FILE` gives {"ratios": {name: number}, "raw": {...}}."""

import json
import os
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def parser(description: str | None) -> ArgumentParser:
    """Return the parser of a benchmark's command line, with --json."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write ratios and the figures behind them there")
    return made


def hand_on(path: Path | None, ratios: Mapping[str, float], raw: Mapping[str, Any]) -> None:
    """Write the figures if a file was given."""
    if path is not None:
        write_whole(path, {"ratios": dict(ratios), "raw": dict(raw)})


def write_whole(path: Path, content: object) -> None:
    """Write JSON atomically, so that a reader finds the old file or the new one."""
    text = json.dumps(content, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    os.replace(file.name, path)
