"""The figures of a composed config that determine memory and time."""

from __future__ import annotations

import os
from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf

from gmpo.config import layout_of, model_config, old_log_probs
from gmpo.models.chunk_size import ON_CPU, ON_GPU
from gmpo.models.shape import ModelShape
from gmpo.parallel.layout import Layout

GIB = 2**30
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}
VLLM = "vllm"


@dataclass(frozen=True)
class Batch:
    """The arithmetic of a rollout step."""

    prompts: int
    group_size: int
    mini_batch_prompts: int
    data_parallel: int
    longest: int  # tokens of a prompt and a response
    tokens_at_once: int  # of an update's micro-batch, over its cp ranks
    tokens_without_gradient: int  # of a log-prob pass's, over its cp ranks

    @classmethod
    def of(cls, cfg: DictConfig, layout: Layout) -> Batch:
        """Return the batch of a config on the ranks of a layout."""
        return cls(
            prompts=cfg.batch.prompts,
            group_size=cfg.batch.group_size,
            mini_batch_prompts=cfg.batch.mini_batch_prompts,
            data_parallel=layout.data_parallel,
            longest=cfg.data.max_prompt_tokens + cfg.sampling.max_tokens,
            tokens_at_once=cfg.batch.max_tokens_per_micro_batch * layout.cp,
            tokens_without_gradient=cfg.batch.max_tokens_per_log_prob_batch * layout.cp,
        )

    @property
    def responses(self) -> int:
        """Responses of a rollout step, over all ranks."""
        return self.prompts * self.group_size

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of each rollout step."""
        return self.prompts // self.mini_batch_prompts

    @property
    def sequences_per_step(self) -> int:
        """Sequences of one optimizer step in one data-parallel group, at most."""
        return -(-self.mini_batch_prompts * self.group_size // self.data_parallel)

    @property
    def sequences_per_group(self) -> int:
        """Sequences of one rollout step in one data-parallel group, at most."""
        return -(-self.responses // self.data_parallel)

    def micro_batches(self, tokens: float) -> int:
        """Return the micro-batches of one optimizer step on each rank, for sequences of this length."""
        return -(-self.sequences_per_step // max(1, int(self.tokens_at_once // tokens)))

    def log_prob_batches(self, tokens: float) -> int:
        """Return the micro-batches of a rollout step's log-prob pass on each rank."""
        return -(-self.sequences_per_group // max(1, int(self.tokens_without_gradient // tokens)))


@dataclass(frozen=True)
class Recipe:
    """All figures of a config that the planner reads."""

    shape: ModelShape
    layout: Layout
    batch: Batch
    max_prompt_tokens: int
    max_response_tokens: int
    max_logits_per_chunk: int  # tokens times entries of the vocabulary
    tokens: int  # of a micro-batch, on each rank
    log_prob_tokens: int  # the same of a pass without gradients
    bytes: int  # of a number in forward, backward and engine
    packed: bool  # attention by torch's kernel for variable lengths
    offload: bool
    keep_blocks: bool  # keep them gathered between forward and backward
    reduce_gradients: str
    checkpointing: str
    reference: bool  # whether the KL needs a reference model
    reference_on_cpu: bool
    asynchronous: bool
    old_log_probs_by_trainer: bool  # in a pass of their own
    engine: str  # vllm or transformers
    engine_tokens: int  # of the longest prompt and response, validation included
    tensor_parallel: int
    gpu_memory_utilization: float
    kv_cache_gib: float  # on a CPU
    enable_sleep_mode: bool
    prefetch: bool  # generating the next step's responses during the update
    engine_elsewhere: bool  # on GPUs that the trainer does not use
    max_num_seqs: int  # in parallel; for an engine without this setting, all of a rollout step
    max_num_batched_tokens: int
    devices: int
    nodes: int
    gpu: bool
    gpu_gib: float | None  # None: no GPU
    host_gib: float  # of a node
    tflops: float
    memory_gb_s: float
    node_gb_s: float
    network_gb_s: float

    @property
    def unsharded(self) -> bool:
        """Whether `Sharding.shard` leaves out FSDP: one rank with nothing to cast or to offload."""
        alone_and_wide = self.layout.world_size == 1 and self.bytes >= BYTES["float32"]
        return alone_and_wide and not (self.offload or (self.reference and self.reference_on_cpu))

    @classmethod
    def of(cls, cfg: DictConfig) -> Recipe:
        """Return the figures of a config that passed `gmpo.config.check_recipe`.

        Raises ValueError where the sizes of the model or of a GPU are not known.
        """
        config = model_config(cfg)
        if config is None:
            raise ValueError(
                f"the sizes of model.path={cfg.model.path} are not known: there is no config.json and no model.shape"
            )
        cluster, engine, sharding, layout = cfg.cluster, cfg.rollout.engine, cfg.sharding, layout_of(cfg)
        shape = ModelShape.of(config)
        gpu = cluster.accelerator == "gpu"
        if gpu and cluster.gpu_memory_gib is None:
            raise ValueError("cluster.gpu_memory_gib=null: to plan for GPUs, give the memory of one in GiB")
        by_trainer = old_log_probs(cfg) == "trainer"
        prefetch = OmegaConf.select(cfg, "rollout.async_steps", default=0) > 0
        attention = cfg.model.attention
        engine_tokens = cfg.data.max_prompt_tokens + max(cfg.sampling.max_tokens, cfg.validation.max_tokens)
        batch = Batch.of(cfg, layout)
        largest_pass = batch.sequences_per_step * -(-batch.longest // layout.cp)
        return cls(
            shape=shape,
            layout=layout,
            batch=batch,
            max_prompt_tokens=cfg.data.max_prompt_tokens,
            max_response_tokens=cfg.sampling.max_tokens,
            max_logits_per_chunk=cfg.policy.max_logits_per_chunk or (ON_GPU if gpu else ON_CPU),
            tokens=min(cfg.batch.max_tokens_per_micro_batch, largest_pass),
            log_prob_tokens=min(cfg.batch.max_tokens_per_log_prob_batch, largest_pass * batch.optimizer_steps),
            bytes=BYTES[cluster.dtype],
            packed=attention == "varlen" or (attention == "auto" and gpu and cluster.dtype != "float32"),
            offload=gpu and sharding.offload,  # without a GPU it is the same memory
            keep_blocks=sharding.reshard_after_forward is False,
            reduce_gradients=sharding.reduce_gradients,
            checkpointing=sharding.checkpointing,
            reference=cfg.kl.coefficient != 0,
            reference_on_cpu=gpu and cfg.policy.reference_on_cpu,
            asynchronous=cfg.checkpoint.asynchronous,
            old_log_probs_by_trainer=by_trainer,
            engine=cfg.rollout.package,
            tensor_parallel=OmegaConf.select(engine, "tensor_parallel", default=1),
            gpu_memory_utilization=OmegaConf.select(engine, "gpu_memory_utilization", default=0.0),
            kv_cache_gib=OmegaConf.select(engine, "kv_cache_gib", default=0.0),
            enable_sleep_mode=gpu
            and not prefetch
            and bool(OmegaConf.select(engine, "enable_sleep_mode", default=False)),
            prefetch=prefetch,
            engine_elsewhere=gpu and (OmegaConf.select(cfg, "rollout.first_gpu") or 0) >= cluster.devices,
            max_num_seqs=OmegaConf.select(engine, "max_num_seqs", default=batch.responses),
            engine_tokens=engine_tokens,
            max_num_batched_tokens=max(OmegaConf.select(engine, "max_num_batched_tokens", default=0), engine_tokens),
            devices=cluster.devices,
            nodes=cluster.nodes,
            gpu=gpu,
            gpu_gib=cluster.gpu_memory_gib if gpu else None,
            host_gib=cluster.host_memory_gib or this_machine_gib(),
            **cluster.speed,
        )

    @property
    def engines(self) -> int:
        """The number of engines."""
        return self.layout.world_size // self.tensor_parallel


def this_machine_gib() -> float:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
