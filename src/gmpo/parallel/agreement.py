"""Errors that end a run on all ranks together. All functions are collective."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gmpo.parallel.collectives import gather
from gmpo.run.errors import RunError


def errors_of_ranks(error: RunError | None) -> list[RunError]:
    """Return the errors of all ranks, by rank; those without one give None."""
    return [found for found in gather(error) if found is not None]


def tried(act: Callable[[], object]) -> list[RunError]:
    """Run `act`; return the RunErrors of all ranks."""
    local: RunError | None = None
    try:
        act()
    except RunError as error:
        local = error
    return errors_of_ranks(local)


@contextmanager
def raised_on_all_ranks() -> Iterator[None]:
    """Raise on every rank the first RunError that is raised inside on any."""
    local: RunError | None = None
    try:
        yield
    except RunError as error:
        local = error
    if errors := errors_of_ranks(local):
        raise errors[0]
