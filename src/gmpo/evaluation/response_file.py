"""The responses of an evaluation as a file, so that an interrupted evaluation resumes."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gmpo.types import Prompt, Rollout


@dataclass(frozen=True, slots=True)
class ScoredResponse:
    """One line of responses.jsonl."""

    benchmark: str
    problem: str  # `problem_key`
    number: int  # among the responses to the problem
    question: str
    answer: str  # the gold answer
    response: str
    final_answer: str | None  # as in `Rollout`
    reward: float
    tokens: int
    truncated: bool

    @classmethod
    def of(cls, prompt: Prompt, number: int, rollout: Rollout) -> "ScoredResponse":
        """Return the record of a rollout."""
        response = rollout.response
        about = (prompt.benchmark_name, problem_key(prompt), number, prompt.question, prompt.answer)
        return cls(
            *about, response.text, rollout.final_answer, rollout.reward, len(response.token_ids), response.truncated
        )


def problem_key(prompt: Prompt) -> str:
    """Return a key of a problem that depends on its prompt's tokens and answer only, not on its benchmark."""
    content = json.dumps([prompt.token_ids, prompt.answer]).encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


class ResponseFile:
    """responses.jsonl: a line for each response, written as soon as it is scored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[ScoredResponse]:
        """Yield the responses of earlier starts; an incomplete last line is removed."""
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            whole = 0
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    yield ScoredResponse(**json.loads(line))
                except (ValueError, TypeError) as error:
                    where = f"{self.path}, line {number}"
                    raise ValueError(
                        f"{where} is no response ({error}): delete it, or choose another output"
                    ) from error
                whole += len(line)
            file.truncate(whole)

    def append(self, response: ScoredResponse) -> None:
        """Append a response at once."""
        # a lone surrogate becomes its escape, which JSON reads back
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(json.dumps(asdict(response), ensure_ascii=False) + "\n")
