"""A callback that kills its process at a chosen call of a chosen function: SIGKILL between two lines."""

import os
import signal
from functools import wraps
from typing import Any

from hydra.utils import get_object
from lightning import Callback


class DieAt(Callback):
    """Dies as `function` (its dotted path) is called for the `call`th time, or as that call returns."""

    def __init__(self, function: str, call: int, after: bool = False) -> None:
        place, _, name = function.rpartition(".")
        owner, original = get_object(place), get_object(function)
        calls = 0

        @wraps(original)
        def mortal(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, mortal)
