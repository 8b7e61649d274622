"""Selection of rows: repeated problems, and problems held out for validation."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

log = logging.getLogger(__name__)

Message = dict[str, object]  # role, content, and what else a chat template may read


@dataclass(frozen=True, slots=True)
class Question:
    """A problem of a data set, before the template."""

    text: str
    answer: str
    benchmark_name: str  # of the data set; validation metrics are named val/BENCHMARK_NAME/...
    chat: tuple[Message, ...] | None = None  # all messages if there are several, the question last
    problem: str | None = field(
        default=None, compare=False
    )  # the text without the instruction around it; None: the text itself
    where: str = field(default="", compare=False)  # its location, for messages


@dataclass(frozen=True, slots=True)
class Found:
    """A question, its key for finding repeats, and its location."""

    question: Question
    key: str  # its text without wrapping and outer blanks, and a chat's other messages
    where: str


def distinct(found: Iterable[Found], label: str) -> Iterator[Found]:
    """Yield the first of each problem; log how many are repeated, and how many of these have another answer."""
    answers: dict[str, str] = {}
    rows, others, first_other = 0, 0, ""
    for one in found:
        rows += 1
        answer = answers.get(one.key)
        if answer is None:
            answers[one.key] = one.question.answer
            yield one
        elif answer != one.question.answer:
            others += 1
            first_other = first_other or one.where
    repeated = rows - len(answers)
    differ = f"; {others} of them give another answer than the first, which is kept (see {first_other})"
    if repeated:
        log.info(
            "%s: %d of %d rows repeat a problem and are dropped%s", label, repeated, rows, differ if others else ""
        )


def without_conflicts(found: Iterable[Found], label: str, option: str) -> Iterator[Found]:
    """Yield the first row of each problem with only one answer; log how many rows and problems are dropped.

    Reads all rows before it yields. Raises ValueError where every problem has more than one answer.
    """
    first: dict[str, Found] = {}
    rows: Counter[str] = Counter()
    conflicts: dict[str, str] = {}  # problem -> location of its second answer
    for one in found:
        rows[one.key] += 1
        if one.question.answer != first.setdefault(one.key, one).question.answer:
            conflicts.setdefault(one.key, one.where)
    lost = sum(rows[key] for key in conflicts)
    if conflicts:
        facts = f"{len(conflicts)} of {len(rows)} problems have more than one answer"
        where = next(iter(conflicts.values()))
        if len(conflicts) == len(rows):
            raise ValueError(f"{label}: {facts} (see {where}); fix the rows, or keep each first one by {option}=drop")
        log.info("%s: %s and are dropped with all of their %d rows (see %s)", label, facts, lost, where)
    total = rows.total()
    repeated = total - lost - (len(rows) - len(conflicts))
    if repeated:
        log.info("%s: %d of %d rows repeat a problem and are dropped", label, repeated, total)
    yield from (one for key, one in first.items() if key not in conflicts)


def hold_out(found: Iterable[Found], count: int, label: str, option: str) -> tuple[list[Question], list[Question]]:
    """Return (training, validation): `count` problems, chosen by a hash of the text, are held out for validation.

    The choice and its order depend neither on the order of the rows nor on a seed; training keeps the order of the
    rows. Raises ValueError where no problem would be left to train on.
    """
    all_of_them = list(found)
    keys = {one.key for one in all_of_them}
    if len(keys) <= count:
        raise ValueError(f"{label}: {option}={count} leaves nothing of {len(keys)} problems to train on; lower it")
    picked = {key: place for place, key in enumerate(sorted(keys, key=_hash)[:count])}
    held = sorted((one for one in all_of_them if one.key in picked), key=lambda one: picked[one.key])
    log.info("%s: %d of %d problems are held out of training for validation", label, count, len(keys))
    return [one.question for one in all_of_them if one.key not in picked], [one.question for one in held]


def _hash(key: str) -> bytes:
    return sha256(key.encode()).digest()
