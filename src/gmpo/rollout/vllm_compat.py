"""Private parts of vLLM that an engine in the trainer's process has to change: classes, and names of shared memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Classes = dict[type, type]


@contextmanager
def decorated_classes_restored() -> Iterator[Classes]:
    """Undo on exit what vLLM changes in classes that are not its own; yield subclasses that have the changes.

    For a model that it has no code for, vLLM runs that of transformers and decorates its class in place: bases,
    `__init__` and `__call__`. In the trainer's process that breaks models made before (they lack what the new
    `__call__` reads) and after (the new `__init__` wants vLLM's settings), and skips the hooks of modules. The mapping,
    filled on exit, holds for each decorated class a subclass with vLLM's changes: the class for vLLM's own models.
    """
    from vllm.compilation import decorators

    decorate = decorators._support_torch_compile
    before: dict[type, tuple[tuple[type, ...], dict[str, Any]]] = {}
    moved: Classes = {}

    def noting(cls: type, *args: Any, **kwargs: Any) -> type:
        if cls.__module__.split(".")[0] != "vllm":
            before.setdefault(cls, (cls.__bases__, dict(vars(cls))))
        return decorate(cls, *args, **kwargs)

    decorators._support_torch_compile = noting
    try:
        yield moved
    finally:
        decorators._support_torch_compile = decorate
        moved.update({cls: _restored(cls, bases, attributes) for cls, (bases, attributes) in before.items()})


@contextmanager
def shared_memory_named(identifier: str) -> Iterator[None]:
    """Prefix the names of vLLM's shared memory on a CPU, which are the same in every run, with an identifier.

    Two runs of several ranks on one machine, or one after a killed one, would find a name taken (errno 17).
    identifier: the same on all ranks of an engine.
    """
    from vllm.distributed.device_communicators.cpu_communicator import _CPUSHMDistributed

    named = _CPUSHMDistributed.make_group_name
    _CPUSHMDistributed.make_group_name = staticmethod(lambda group: identifier + named(group).lstrip("/"))
    try:
        yield
    finally:
        _CPUSHMDistributed.make_group_name = staticmethod(named)


def _restored(cls: type, bases: tuple[type, ...], attributes: Mapping[str, Any]) -> type:
    """Restore bases and attributes; return a subclass with the changed ones."""
    added = tuple(base for base in cls.__bases__ if base not in bases)
    changed = {
        name: value for name, value in vars(cls).items() if name not in attributes or attributes[name] is not value
    }
    cls.__bases__ = bases
    for name in changed:
        if name in attributes:
            setattr(cls, name, attributes[name])
        else:
            delattr(cls, name)
    place = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, (cls, *added), changed | place)
