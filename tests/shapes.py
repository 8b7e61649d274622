"""Shapes of tensors, checked at each call: beartype on the annotations that jaxtyping makes, and on no others.

Values that are wrong in another way are refused by the code's own messages, which tests read.
"""

from collections.abc import Callable
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def has_shape(annotation: object) -> bool:
    """Return whether it is an array's, or a union or a container of some."""
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(map(has_shape, get_args(annotation)))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, raising where a tensor has another shape or type than its annotation says."""
    annotations = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in annotations.items() if has_shape(hint)}
    checked = beartype(function)
    function.__annotations__ = checked.__annotations__ = annotations
    return checked
