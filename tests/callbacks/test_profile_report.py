"""The largest costs, against torch's own averages."""

from dataclasses import dataclass

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from gmpo.callbacks.profile_report import Cost, Span, costs_of, own_times, report


def test_own_and_total_times_are_those_of_torch() -> None:
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        weight = torch.randn(16, 16, requires_grad=True)
        for _ in range(3):
            with record_function("outer"), record_function("inner"):
                (torch.randn(4, 16) @ weight).tanh().sum().backward()
    events = recorded.profiler.kineto_results.events()
    spans = [Span(event.start_thread_id(), event.start_ns(), event.end_ns(), event.name()) for event in events]
    ours = costs_of(own_times(spans))
    theirs = {average.key: average for average in recorded.key_averages()}
    assert {cost.name for cost in ours} == theirs.keys()
    for cost in ours:
        assert cost.calls == theirs[cost.name].count
        assert cost.own / 1e3 == pytest.approx(theirs[cost.name].self_cpu_time_total, abs=0.01)
        assert cost.total / 1e3 == pytest.approx(theirs[cost.name].cpu_time_total, abs=0.01)
    lines = report(events).splitlines()
    assert len(lines) == 11
    assert [line.split()[0] for line in lines[1:]] == [cost.name.split()[0] for cost in ours[:10]]
    assert [cost.own for cost in ours] == sorted((cost.own for cost in ours), reverse=True)


@dataclass
class Recorded:
    """An event as torch has it on a GPU."""

    called: str
    start: int
    end: int
    device: DeviceType = DeviceType.CUDA
    annotation: bool = False

    def name(self) -> str:
        return self.called

    def start_ns(self) -> int:
        return self.start * 10**9

    def end_ns(self) -> int:
        return self.end * 10**9

    def start_thread_id(self) -> int:
        return 7

    def end_thread_id(self) -> int:
        return 7

    def device_type(self) -> DeviceType:
        return self.device

    def is_user_annotation(self) -> bool:
        return self.annotation

    def is_async(self) -> bool:
        return False


def test_kernels_are_what_counts_where_there_is_a_gpu() -> None:
    said = report(
        [
            Recorded("aten::mm", 0, 10, DeviceType.CPU),
            Recorded("update", 0, 10, annotation=True),  # the range again, as the GPU saw it
            Recorded("gemm<float>", 1, 3),
            Recorded("gemm<float>", 2, 5),  # on another stream
            Recorded("copy", 5, 6),
        ]
    )
    assert [line.split() for line in said.splitlines()] == [
        ["largest", "of", "10.0", "s,", "on", "the", "GPU", "own", "s", "share", "total", "s", "calls"],
        ["gemm<float>", "5.000", "50.0%", "5.000", "2"],
        ["copy", "1.000", "10.0%", "1.000", "1"],
    ]


def test_threads_do_not_lie_inside_each_other() -> None:
    spans = [Span(1, 0, 10, "a"), Span(2, 2, 4, "b"), Span(1, 3, 5, "b"), Span(1, 5, 6, "b")]
    assert costs_of(own_times(spans)) == [Cost("a", 7, 10, 1), Cost("b", 5, 5, 3)]


def test_nothing() -> None:
    assert report([]) == "nothing was recorded\n"
