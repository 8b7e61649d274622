"""In which order the hooks of callbacks run."""

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from lightning import Callback

from gmpo.callbacks import CheckpointCallback, RolloutCallback
from gmpo.callbacks.ordered import OrderedCallback, in_order


class First(OrderedCallback):
    order = -1


class AsFirst(First):
    """Of the same order."""


def test_callbacks_run_by_their_order_and_others_last() -> None:
    plain, first, other = Callback(), First(), AsFirst()
    assert in_order([plain, first, other]) == [first, other, plain]
    assert in_order([other, plain, first]) == [other, first, plain]


@pytest.mark.parametrize("order", [None, 100, "first", True])
def test_a_class_that_says_no_order_is_refused(order: object) -> None:
    with pytest.raises(TypeError, match=r"Unordered\.order is .*: set it to a whole number below 100"):
        type("Unordered", (OrderedCallback,), {} if order is None else {"order": order})


def test_each_callback_of_a_training_has_an_order_of_its_own() -> None:
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        cfg = compose("train", ["run.name=test"])
    classes = [get_class(node._target_) for node in cfg.callbacks.values()]
    orders = [cls.order for cls in classes]
    assert len(set(orders)) == len(orders) > 8
    assert CheckpointCallback.order < RolloutCallback.order
    assert all(RolloutCallback.order < cls.order for cls in classes if "Evaluation" in cls.__name__)
