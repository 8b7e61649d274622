"""Callbacks that run in a fixed order, wherever a config names them."""

from collections.abc import Iterable
from typing import ClassVar

from lightning import Callback

LAST = 100  # the order of Lightning's own callbacks, and of users' callbacks without one


class OrderedCallback(Callback):
    """A callback whose hooks run after those of a lower `order`; equal ones keep the order of the config."""

    order: ClassVar[int] = LAST

    def __init_subclass__(cls) -> None:
        """Raise TypeError for a class that does not set its order."""
        super().__init_subclass__()
        if type(cls.order) is not int or cls.order >= LAST:
            raise TypeError(f"{cls.__name__}.order is {cls.order}: set it to a whole number below {LAST}")


def in_order(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return the callbacks in the order in which their hooks run."""
    return sorted(callbacks, key=lambda each: each.order if isinstance(each, OrderedCallback) else LAST)
