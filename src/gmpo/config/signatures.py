"""Kinds of the arguments of a part's class, read from its source: nothing is imported, so no torch either.

A key without a row in the table of settings takes what the class's annotation says: `horizon: int | None` is a whole
number or null. So a user's own class is checked like the project's, and adding one needs no new row.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from gmpo.settings.kinds import NULL, Choice, Either, Keys, Kind, ListOf, Number, Switch, Text

NAMES: dict[str, Kind] = {"int": Number(whole=True), "float": Number(), "bool": Switch(), "str": Text()}
LISTS, MAPPINGS = ("Sequence", "list"), ("Mapping", "dict")


@cache
def arguments(target: str) -> Mapping[str, Kind]:
    """Return the kind of each annotated argument of a class or function; empty without its source."""
    kinds = {name: kind_of(annotation) for node in _definitions(target) for name, annotation in _annotated(node)}
    return {name: kind for name, kind in kinds.items() if kind is not None}


@cache
def declares(target: str, name: str) -> bool:
    """Return whether a class declares `name: ClassVar[bool] = True`; False without its source."""
    return any(
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(statement.value, ast.Constant)
        and (statement.target.id, statement.value.value) == (name, True)
        for node in _definitions(target)
        for statement in node.body
    )


def kind_of(annotation: ast.expr) -> Kind | None:
    """Return the kind of an annotation of plain types; None for other types."""
    match annotation:
        case ast.Constant(value=None):
            return NULL
        case ast.Name(id=name):
            return NAMES.get(name)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            kinds = kind_of(left), kind_of(right)
            return None if kinds[0] is None or kinds[1] is None else Either((kinds[0], kinds[1]))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            return Choice(tuple(ast.literal_eval(values)) if isinstance(values, ast.Tuple) else (_plain(values),))
        case ast.Subscript(value=ast.Name(id=name), slice=entry) if name in LISTS:
            return None if (kind := kind_of(entry)) is None else ListOf(kind)
        case ast.Subscript(value=ast.Name(id=name)) if name in MAPPINGS:
            return Keys()
    return None


def _plain(value: ast.expr) -> str | int | None:
    plain: str | int | None = ast.literal_eval(value)
    return plain


@cache
def _definitions(target: str) -> list[ast.ClassDef | ast.FunctionDef]:
    """Return the definitions of a dotted name at the top of its module; none without its source."""
    module, _, name = target.rpartition(".")
    source = _source(module)
    nodes = [] if source is None else ast.parse(source.read_text(encoding="utf-8")).body
    return [node for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name]


def _source(module: str) -> Path | None:
    """Return the file of a module, without importing the packages above it."""
    first, *parts = module.split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None or (not parts and spec.origin is None):
        return None
    if not parts:
        file = Path(spec.origin or "")
        return file if file.suffix == ".py" else None
    for folder in spec.submodule_search_locations or ():
        place = Path(folder).joinpath(*parts)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


def _annotated(node: ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield the annotated arguments of a function or of __init__, and the fields of a dataclass."""
    if isinstance(node, ast.FunctionDef):
        given = node.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            if argument.annotation is not None:
                yield argument.arg, argument.annotation
        return
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.annotation
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            yield from _annotated(statement)
