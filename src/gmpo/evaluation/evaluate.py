"""Evaluation of a model on benchmarks: responses, scores, metrics, and a record to resume from."""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gmpo.checkpoint.atomic import write_atomically
from gmpo.evaluation.metrics import ProblemMetrics
from gmpo.evaluation.response_file import ResponseFile, ScoredResponse, problem_key
from gmpo.rewards import Reward, report_of, verifier_of
from gmpo.rollout import Engine, request_seed, score
from gmpo.types import Prompt, Request, Sampling

log = logging.getLogger(__name__)

Results = dict[str, dict[str, float]]  # by benchmark, then by metric


class Key(NamedTuple):
    """The identity of a response within an evaluation."""

    benchmark: str
    problem: str  # `problem_key`
    number: int


@dataclass(frozen=True)
class Evaluation:
    """Samples and scores responses to every problem, and writes responses.jsonl and results.json to `folder`.

    Responses that are already in responses.jsonl are not generated again. Each response depends only on the seed, the
    problem and its number, so an interrupted and resumed evaluation ends with the same results. pass_k: additional k of
    pass@k. on_progress is called with the numbers of finished and of all responses.
    """

    engine: Engine
    reward: Reward
    prompts: Sequence[Prompt]  # of all benchmarks; each prompt names its own
    sampling: Sampling
    samples: int  # responses to each problem
    seed: int
    folder: Path
    pass_k: Sequence[int] = ()
    solved_at: float = 1.0
    on_progress: Callable[[int, int], None] = lambda made, of: None

    def run(self) -> Results:
        """Return metrics by benchmark, in the order of the prompts."""
        file = ResponseFile(self.folder / "responses.jsonl")
        responses = {Key(r.benchmark, r.problem, r.number): r for r in file.read()}
        self._make_missing(file, responses)
        metrics = {p.benchmark_name: ProblemMetrics(self.samples, self.pass_k, self.solved_at) for p in self.prompts}
        for prompt in self.prompts:
            own = [responses[key] for key in self._keys(prompt)]
            metrics[prompt.benchmark_name].update(
                rewards=[r.reward for r in own],
                answers=[r.final_answer for r in own],
                lengths=[r.tokens for r in own],
                truncated=[r.truncated for r in own],
            )
        results = {name: {"problems": float(own.problems), **own.compute()} for name, own in metrics.items()}
        self._write(results)
        return results

    def _write(self, results: Results) -> None:
        """Write the metrics into results.json, beside those of other benchmarks."""
        file = self.folder / "results.json"
        others = json.loads(file.read_text()) if file.exists() else {}
        with write_atomically(file) as whole:
            whole.write(json.dumps(others | results, indent=2) + "\n")

    def _make_missing(self, file: ResponseFile, responses: dict[Key, ScoredResponse]) -> None:
        """Generate the missing responses, and add them to `responses` and to the file."""
        wanted = [(prompt, self._keys(prompt)) for prompt in self.prompts]
        missing = [(prompt, [key for key in keys if key not in responses]) for prompt, keys in wanted]
        missing = [(prompt, keys) for prompt, keys in missing if keys]
        total, left = sum(len(keys) for _, keys in wanted), sum(len(keys) for _, keys in missing)
        if left < total:
            log.info("%s holds %d of %d responses already", file.path, total - left, total)
        if not missing:
            return
        keys = {Request(prompt, self._seed(key), self.sampling): key for prompt, lacking in missing for key in lacking}
        self.engine.start()
        try:
            rollouts = score(self.engine.generate(list(keys)), verifier_of(self.reward), one_by_one=True)
            with closing(rollouts):
                for made, (request, rollout) in enumerate(rollouts, start=total - left + 1):
                    key = keys[request]
                    responses[key] = ScoredResponse.of(request.prompt, key.number, rollout)
                    file.append(responses[key])
                    self.on_progress(made, total)
            report_of(self.reward)  # warns where checks failed
        finally:
            self.engine.close()
            self.reward.close()

    def _keys(self, prompt: Prompt) -> list[Key]:
        return [Key(prompt.benchmark_name, problem_key(prompt), number) for number in range(self.samples)]

    def _seed(self, key: Key) -> int:
        return request_seed(self.seed, f"evaluate/{key.benchmark}/{key.problem}", 0, 0, key.number)
