import pytest

from gmpo.parallel.layout import EngineLayout, Layout, kv_repeats


def test_what_is_left_is_sharded() -> None:
    assert Layout.of(64, dp_replicate=2, cp=4) == Layout(2, 8, 4)
    assert Layout.of(1) == Layout(1, 1, 1)
    layout = Layout.of(64, dp_replicate=2, dp_shard=8, cp=4)
    assert (layout.world_size, layout.data_parallel, layout.fsdp_shard) == (64, 16, 32)
    assert str(layout) == (
        "64 ranks = 2 dp_replicate x 8 dp_shard x 4 cp; parameters sharded over 32, sequences spread over 16"
    )


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((6, 1, None, 4), r"6 ranks cannot be divided by .*cluster.cp=4 = 4: 6 = 1 x 4 \+ 2"),
        ((8, 2, 2, 1), r"cluster.dp_replicate=2 x cluster.dp_shard=2 x cluster.cp=1 = 4 ranks, but 8 are started"),
        ((2, 1, None, 4), r"2 = 0 x 4 \+ 2"),
        ((4, 0, None, 1), r"cluster.dp_replicate=0 must be a whole number of at least 1"),
        ((4, 1, True, 1), r"cluster.dp_shard=True must be"),
        ((4, 1, None, 1.5), r"cluster.cp=1.5 must be"),
        ((4, None, None, 1), r"cluster.dp_replicate=None must be"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_arithmetic(sizes: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Layout.of(*sizes)


def test_ranks_of_an_engine_stand_together() -> None:
    ranks = [EngineLayout(rank, 8, 4) for rank in range(8)]
    assert [layout.engine for layout in ranks] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [rank for rank, layout in enumerate(ranks) if layout.leads] == [0, 4]
    assert ranks[0].engines == 2


@pytest.mark.parametrize(
    ("heads", "kv_heads", "cp", "repeats"),
    [(28, 4, 4, 1), (28, 4, 2, 1), (8, 2, 4, 2), (2, 1, 2, 2), (12, 3, 4, 4), (32, 4, 8, 2), (6, 6, 2, 1)],
)
def test_every_rank_gets_as_many_heads(heads: int, kv_heads: int, cp: int, repeats: int) -> None:
    assert kv_repeats(heads, kv_heads, cp) == repeats
    assert kv_heads * repeats % cp == 0
    assert heads % (kv_heads * repeats) == 0


def test_heads_that_cannot_be_divided_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(ValueError, match=r"cluster.cp=8 does not divide the 28 .*: 28 = 3 x 8 \+ 4"):
        kv_repeats(28, 4, 8)
