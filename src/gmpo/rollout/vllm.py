"""vLLM in the trainer's own process."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from gmpo.parallel.collectives import gather
from gmpo.rollout.engine import ASLEEP
from gmpo.rollout.vllm_compat import decorated_classes_restored, shared_memory_named
from gmpo.rollout.weight_sync import with_tied_head
from gmpo.run.errors import NonFiniteError
from gmpo.types import Request, Response

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

QUIET_AND_QUICK_ON_CPU = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in this process: weights pass by reference
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TORCHDYNAMO_DISABLE": "1",  # otherwise two sampler functions are compiled: 2 to 13 s
}


class VLLMEngine:
    """Generates with vLLM in this process, one request for each response.

    Args:
        model_path, dtype: the policy's; vLLM's own choice of dtype would turn float32 into bfloat16.
        max_model_len: tokens of prompt and response together.
        kv_cache_gib: memory for keys and values on a CPU.
        gpu_memory_utilization: part of a GPU's memory, weights included.
        max_num_batched_tokens: of one forward pass; on a GPU, a longer prompt is processed in pieces.
        tensor_parallel: ranks of the trainer that one engine spans.
        enable_sleep_mode: free a GPU's memory for the update between generations.
        block_size: tokens of a block of the prefix cache.
        trust_remote_code, overrides: as in `Pretrained`.
    """

    def __init__(
        self,
        model_path: str,
        dtype: str,
        max_model_len: int,
        max_num_seqs: int,
        kv_cache_gib: int,
        gpu_memory_utilization: float,
        max_num_batched_tokens: int,
        tensor_parallel: int = 1,
        enable_sleep_mode: bool = True,
        block_size: int | None = None,
        trust_remote_code: bool = False,
        overrides: Mapping[str, object] | None = None,
    ) -> None:
        self.model_path = model_path
        self.dtype = dtype
        self.max_model_len = max_model_len
        self.max_num_seqs = max_num_seqs
        self.kv_cache_gib = kv_cache_gib
        self.gpu_memory_utilization = gpu_memory_utilization
        self.max_num_batched_tokens = max(max_num_batched_tokens, max_model_len)
        self.tensor_parallel = tensor_parallel
        self.enable_sleep_mode = enable_sleep_mode and torch.cuda.is_available()  # vLLM has none on a CPU
        self.block_size = block_size
        self.trust_remote_code = trust_remote_code
        self.overrides = dict(overrides or {})
        self.policy_version = 0
        self._llm: LLM | None = None
        self._request_ids = count()

    def start(self) -> None:
        """Load the model into vLLM; collective over all ranks of a run."""
        on_cpu = not torch.cuda.is_available()
        os.environ.update(QUIET_AND_QUICK_ON_CPU if on_cpu else {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"})
        os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(self.kv_cache_gib)
        os.environ["VLLM_NO_USAGE_STATS"] = "1"  # nothing about this machine is sent anywhere
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        if ranks > 1:  # vLLM's external launcher reads both; Lightning leaves the first unset
            os.environ["RANK"], os.environ["WORLD_SIZE"] = str(dist.get_rank()), str(ranks)
        else:
            os.environ["VLLM_HOST_IP"] = "127.0.0.1"  # its rendezvous with itself: no other machine takes part
        shares_memory = on_cpu and ranks > 1
        own_name = shared_memory_named(gather(secrets.token_hex(4))[0]) if shares_memory else nullcontext()
        with _process_left_as_it_is(), own_name, decorated_classes_restored() as moved:
            from vllm import LLM

            self._llm = LLM(
                model=self.model_path,
                trust_remote_code=self.trust_remote_code,
                hf_overrides=self.overrides,
                dtype=self.dtype,
                max_model_len=self.max_model_len,
                max_num_seqs=self.max_num_seqs,
                gpu_memory_utilization=self.gpu_memory_utilization,
                enforce_eager=on_cpu,
                max_num_batched_tokens=self.max_num_batched_tokens,
                tensor_parallel_size=self.tensor_parallel,
                distributed_executor_backend="external_launcher" if ranks > 1 else None,
                enable_sleep_mode=self.enable_sleep_mode,
                # after a piece of a prompt vLLM rewinds the request's random numbers, which CPU generators cannot
                enable_chunked_prefill=not on_cpu,
                logprobs_mode="processed_logprobs",  # of the distribution that is sampled from
                worker_extension_cls="gmpo.rollout.vllm_worker.WeightLoading",
                disable_log_stats=True,
                use_tqdm_on_load=False,
                **({} if self.block_size is None else {"block_size": self.block_size}),
            )
        self._llm.collective_rpc("take_classes", args=(moved,))
        self.policy_version = 0
        trust = {"trust_remote_code": self.trust_remote_code}
        self._tied = bool(AutoConfig.from_pretrained(self.model_path, **trust, **self.overrides).tie_word_embeddings)
        self._tokenizer = AutoTokenizer.from_pretrained(self.model_path, **trust)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], policy_version: int) -> None:
        """Load the weights, and drop keys and values computed from the old ones."""
        llm = self._started()
        asleep = self.policy_version == ASLEEP
        if asleep:
            torch.cuda.empty_cache()  # what the update held
            llm.wake_up(tags=["weights"])
        llm.collective_rpc("load_policy", args=(with_tied_head(weights, self._tied),))
        if asleep:
            llm.wake_up(tags=["kv_cache"])
        llm.reset_prefix_cache()
        self.policy_version = policy_version

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Generate without keys and values of earlier calls, so that not a bit depends on them."""
        engine = self._started().llm_engine
        engine.reset_prefix_cache()
        unfinished: dict[str, Request] = {}
        for request in requests:
            name = str(next(self._request_ids))
            unfinished[name] = request
            engine.add_request(name, {"prompt_token_ids": request.prompt.token_ids}, _parameters(request))
        try:
            while engine.has_unfinished_requests():
                for output in engine.step():
                    if output.finished:
                        response = self._response(output)
                        yield unfinished.pop(output.request_id), response
        except (NonFiniteError, GeneratorExit):
            engine.abort_request(list(unfinished))
            raise

    def sleep(self) -> None:
        """Free the GPU's memory; do nothing on a CPU."""
        if self.enable_sleep_mode:
            self._started().sleep(level=2)  # neither weights nor keys and values are kept
            self.policy_version = ASLEEP

    def close(self) -> None:
        if self._llm is not None:
            from vllm.distributed.parallel_state import destroy_model_parallel

            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            destroy_model_parallel()  # vLLM's groups, not the trainer's: another engine may follow

    def _response(self, output: RequestOutput) -> Response:
        completion = output.outputs[0]
        assert completion.logprobs is not None, "every request asks for log-probs"
        token_ids = list(completion.token_ids)
        log_probs = [at[token].logprob for at, token in zip(completion.logprobs, token_ids, strict=True)]
        text = self._tokenizer.decode(token_ids, skip_special_tokens=True)
        return Response(token_ids, log_probs, text, truncated=completion.finish_reason == "length")

    def _started(self) -> LLM:
        if self._llm is None:
            raise RuntimeError("the vLLM engine generates only between start() and close()")
        return self._llm


@contextmanager
def _process_left_as_it_is() -> Iterator[None]:
    """Keep the trainer's threads and random numbers while vLLM sets up its own."""
    set_num_threads, threads, random_state = (
        torch.set_num_threads,
        torch.get_num_threads(),
        torch.get_rng_state(),
    )
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads  # vLLM for CPU puts a stub in its place
        torch.set_num_threads(threads)
        torch.set_rng_state(random_state)


def _parameters(request: Request) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = request.sampling
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=request.seed,
        logprobs=0,  # of the sampled token alone
        detokenize=bool(sampling.stop),
        stop=list(sampling.stop),
        include_stop_str_in_output=True,  # nothing that was sampled is left out
        skip_special_tokens=False,  # a stop string may be one; the text of a response is decoded here
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
