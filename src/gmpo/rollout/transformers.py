"""Generation by transformers: for machines without vLLM, and for quick tests."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from gmpo.rollout.stop_text import StopText
from gmpo.types import Request, Response, Sampling


class TransformersEngine:
    """Generates with a second copy of the model, in batches padded on the left.

    max_num_seqs: of one batch; on a CPU, smaller batches waste less on finished sequences. overrides: as in
    `Pretrained`.
    """

    tensor_parallel = 1

    def __init__(
        self,
        model_path: str,
        dtype: str,
        max_num_seqs: int,
        trust_remote_code: bool = False,
        overrides: Mapping[str, object] | None = None,
    ) -> None:
        self.model_path = model_path
        self.trust_remote_code = trust_remote_code
        self.overrides = dict(overrides or {})
        self.dtype = dtype
        self.max_num_seqs = max_num_seqs
        self.policy_version = 0
        self._model: PreTrainedModel | None = None

    def start(self) -> None:
        trust = {"trust_remote_code": self.trust_remote_code}
        settings = trust | self.overrides
        model = AutoModelForCausalLM.from_pretrained(self.model_path, dtype=self.dtype, **settings).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(self.model_path, **trust)
        self._ends = _end_tokens(model, self._tokenizer)
        # none of the model's own settings: a repetition penalty would change the distribution from the trainer's
        model.generation_config = GenerationConfig(eos_token_id=self._ends, pad_token_id=self._ends[0])
        self._model = model.to("cuda") if torch.cuda.is_available() else model
        self.policy_version = 0

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], policy_version: int) -> None:
        own = dict(self._started().named_parameters())
        with torch.no_grad():
            for name, tensor in weights:
                own[name].copy_(tensor)
        self.policy_version = policy_version

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Generate one batch at a time, of requests with the same sampling."""
        by_sampling: dict[Sampling, list[Request]] = {}
        for request in sorted(requests, key=lambda request: len(request.prompt.token_ids)):
            by_sampling.setdefault(request.sampling, []).append(request)
        for sampling, alike in by_sampling.items():
            for start in range(0, len(alike), self.max_num_seqs):
                batch = alike[start : start + self.max_num_seqs]
                yield from zip(batch, self._generate(batch, sampling), strict=True)

    def sleep(self) -> None:
        """Do nothing: a model small enough for this engine may stay in memory."""

    def close(self) -> None:
        self._model = None

    @torch.inference_mode()
    def _generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Response]:
        model = self._started()
        prompts = [request.prompt.token_ids for request in requests]
        draw = SeededDraw([request.seed for request in requests], sampling.temperature > 0)
        input_ids, attention_mask = _padded_on_the_left(prompts, self._ends[0])
        texts = [StopText(self._tokenizer, prompt, sampling.stop) for prompt in prompts] if sampling.stop else []
        endings = Endings(input_ids.shape, self._ends, texts)
        output_ids = model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=attention_mask.to(model.device),
            max_new_tokens=sampling.max_tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList([*_warpers(sampling), draw]),
            stopping_criteria=StoppingCriteriaList([endings]),
        )
        new_ids = output_ids[:, input_ids.shape[1] :].tolist()
        log_probs = torch.stack(draw.log_probs, dim=1).tolist()
        return [self._response(*row) for row in zip(new_ids, log_probs, endings.lengths, strict=True)]

    def _response(self, token_ids: list[int], log_probs: list[float], length: int | None) -> Response:
        token_ids = token_ids[:length]
        text = self._tokenizer.decode(token_ids, skip_special_tokens=True)
        return Response(token_ids, log_probs[:length], text, truncated=length is None)

    def _started(self) -> PreTrainedModel:
        if self._model is None:
            raise RuntimeError("the transformers engine generates only between start() and close()")
        return self._model


class Endings(StoppingCriteria):
    """Ends each row's response at an end token, or at the token that completes a stop string.

    prompts: shape of their batch. texts: one for each row; none without stop strings. `lengths` holds the number of
    tokens of each response, None while it has not ended.
    """

    def __init__(self, prompts: Sequence[int], ends: Sequence[int], texts: Sequence[StopText]) -> None:
        rows, self.width = prompts
        self.ends = frozenset(ends)
        self.texts = texts
        self.lengths: list[int | None] = [None] * rows

    def __call__(self, input_ids: Int[Tensor, "B S"], scores: object, **_: object) -> Bool[Tensor, "B"]:
        """Add the newest token of each row; return whether the row has ended."""
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if self.lengths[row] is None and self._ended(row, token):
                self.lengths[row] = input_ids.shape[1] - self.width
        return torch.tensor([length is not None for length in self.lengths], device=input_ids.device)

    def _ended(self, row: int, token: int) -> bool:
        return token in self.ends or (bool(self.texts) and self.texts[row].completed_by(token))


class SeededDraw(LogitsProcessor):
    """Draws each row's token from the row's own seed, and leaves `generate` no other choice.

    The Gumbel-max trick: the argmax of log-probs plus Gumbel noise is a sample. `log_probs` holds, for each step, the
    log-probability of each row's token.
    """

    def __init__(self, seeds: Sequence[int], sample: bool) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.sample = sample
        self.log_probs: list[Float[Tensor, "B"]] = []

    def __call__(self, input_ids: Int[Tensor, "B S"], scores: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """Return scores of 0 for the drawn tokens and minus infinity for the others."""
        log_probs = scores.float().log_softmax(-1)
        noisy = log_probs + self._gumbel(log_probs.shape[-1]).to(log_probs.device) if self.sample else log_probs
        drawn = noisy.argmax(-1, keepdim=True)
        self.log_probs.append(log_probs.gather(-1, drawn).squeeze(-1))
        return torch.full_like(scores, float("-inf")).scatter(-1, drawn, 0.0)

    def _gumbel(self, vocabulary: int) -> Float[Tensor, "B V"]:
        rows = [torch.empty(vocabulary).exponential_(generator=g) for g in self.generators]
        return -torch.stack(rows).log()


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return every token that ends a response: some models name several."""
    named = model.generation_config.eos_token_id
    ends = [tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])]
    return list(dict.fromkeys(end for end in ends if end is not None))


def _padded_on_the_left(prompts: Sequence[list[int]], pad: int) -> tuple[Int[Tensor, "B S"], Int[Tensor, "B S"]]:
    """Return token ids and attention mask."""
    longest = max(map(len, prompts))
    ids = [[pad] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids), torch.tensor(mask)


def _warpers(sampling: Sampling) -> list[LogitsProcessor]:
    warpers: list[LogitsProcessor] = []
    if sampling.temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(sampling.temperature)))
    if sampling.top_k > 0:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    return warpers
