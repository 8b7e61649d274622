"""What of a profile fits a screen."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from torch.autograd import DeviceType

LARGEST = 10
WIDEST = 60  # characters of a name: those of kernels are whole templates


class Event(Protocol):
    """What is read of an event of torch's profiler."""

    def name(self) -> str: ...
    def start_ns(self) -> int: ...
    def end_ns(self) -> int: ...
    def start_thread_id(self) -> int: ...
    def end_thread_id(self) -> int: ...
    def device_type(self) -> DeviceType: ...
    def is_user_annotation(self) -> bool: ...
    def is_async(self) -> bool: ...


class Span(NamedTuple):
    """An operation, a range or a kernel; nanoseconds."""

    row: int  # the thread
    start: int
    end: int
    name: str


class Own(NamedTuple):
    """A span with its own time: without the spans inside."""

    span: Span
    own: int
    is_repeated: bool = False  # it lies directly inside a span of its name: another form of the same operation


class Cost(NamedTuple):
    """Of all spans of a name; nanoseconds."""

    name: str
    own: int
    total: int
    calls: int


def report(events: Iterable[Event]) -> str:
    """The ten largest costs by their own time: of kernels where there are some, else of operations and ranges.

    torch's own averages are the same numbers, and take 100 s for three steps of the quickstart.
    """
    on_cpu, kernels = [], []
    for event in events:
        span = Span(event.start_thread_id(), event.start_ns(), event.end_ns(), event.name())
        if event.device_type() != DeviceType.CPU:
            if not event.is_user_annotation():
                kernels.append(span)
        elif not event.is_async() and event.end_thread_id() == span.row:
            on_cpu.append(span)
    if not on_cpu:
        return "nothing was recorded\n"
    wall = max(span.end for span in on_cpu) - min(span.start for span in on_cpu)
    own = (Own(kernel, kernel.end - kernel.start) for kernel in kernels) if kernels else own_times(on_cpu)
    return _table(costs_of(own), wall, "GPU" if kernels else "CPU")


def own_times(spans: Sequence[Span]) -> Iterator[Own]:
    """Of spans that lie inside each other or apart in each row."""
    around: list[Own] = []  # the spans that are open, with what is left so far
    for span in sorted(spans, key=lambda span: (span.row, span.start, -span.end)):
        while around and (around[-1].span.row != span.row or around[-1].span.end <= span.start):
            yield around.pop()
        if around:
            around[-1] = around[-1]._replace(own=around[-1].own - (span.end - span.start))
        around.append(Own(span, span.end - span.start, bool(around) and around[-1].span.name == span.name))
    yield from around


def costs_of(spans: Iterable[Own]) -> list[Cost]:
    """The largest first."""
    costs: dict[str, Cost] = {}
    for span, own, is_repeated in spans:
        _, before, total, calls = costs.get(span.name, Cost(span.name, 0, 0, 0))
        length = 0 if is_repeated else span.end - span.start
        costs[span.name] = Cost(span.name, before + own, total + length, calls + (not is_repeated))
    return sorted(costs.values(), key=lambda cost: -cost.own)


def _table(costs: Sequence[Cost], wall: int, where: str) -> str:
    rows = [(cost.name[:WIDEST], cost.own, cost.total, cost.calls) for cost in costs[:LARGEST]]
    title = f"largest of {wall / 1e9:.1f} s, on the {where}"
    width = max(len(title), *(len(name) for name, *_ in rows))
    lines = [f"{title:<{width}}     own s  share   total s     calls"]
    for name, own, total, calls in rows:
        lines.append(f"{name:<{width}}  {own / 1e9:8.3f} {own / wall:6.1%}  {total / 1e9:8.3f}  {calls:8d}")
    return "\n".join(lines) + "\n"
