"""Each `file.py::name` of CONTRIBUTING.md is there."""

import ast
import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PLACES = re.findall(r"`([\w/]+\.py)::([\w.]+)`", PAGE)


def names(body: list[ast.stmt], prefix: str = "") -> set[str]:
    """The functions and classes, and the methods of classes."""
    found = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(prefix + node.name)
        if isinstance(node, ast.ClassDef):
            found |= names(node.body, f"{node.name}.")
    return found


@pytest.mark.parametrize(("file", "name"), PLACES)
def test_what_the_page_names_exists(file: str, name: str) -> None:
    assert name in names(ast.parse((ROOT / "src" / "gmpo" / file).read_text()).body)


def test_a_step_has_twelve_lines_that_name_their_place() -> None:
    steps = re.findall(r"^(\d+)\. (`.*(?:\n    .*)*)", PAGE.partition("## To add")[0], re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, 13))
    assert all(re.search(r"\.py::", text) for _, text in steps)


@pytest.mark.parametrize("path", re.findall(r"`((?:src|tests|configs|docs)/[\w/.]*)`", PAGE))
def test_the_paths_of_the_page_exist(path: str) -> None:
    assert (ROOT / path).exists()
