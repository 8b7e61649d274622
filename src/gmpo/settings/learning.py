"""Settings of learning: the objective and its terms, the reward, the optimizer, and how the policy computes."""

from gmpo.settings.kinds import Either, ListOf, Number, Text, choice, or_null
from gmpo.settings.rows import (
    FRACTION,
    NOT_NEGATIVE,
    NUMBER,
    OFF_AT_0,
    POSITIVE,
    POSITIVE_OR_NULL,
    SIZE,
    SIZE_OR_NULL,
    SWITCH,
    TEXT,
    Row,
    Section,
)

KINDS_OF_KL = ("k1", "k2", "k3", "abs")

OBJECTIVE = Section(
    "Objective",
    {
        "objective.clip_low": Row(
            NOT_NEGATIVE, "lower clip range of the ratio; GMPO and HMPO: in log space, others: below 1"
        ),
        "objective.clip_high": Row(NOT_NEGATIVE, "upper clip range of the ratio"),
        "objective.clip_level": Row(choice("token", "sequence", "none"), "what is clipped: each token, or their sum"),
        "objective.length_normalize": Row(SWITCH, "the mean of a sequence's log-ratios; false: their sum"),
        "objective.dual_clip": Row(
            or_null(Number(1, above=True)), "the largest ratio that counts at an advantage below 0"
        ),
        "objective.aggregation": Row(
            choice("token_mean", "sequence_mean", "sequence_sum", "sequence_sum_norm"), "how the loss is averaged"
        ),
        "objective.horizon": Row(SIZE_OR_NULL, "what sequence_sum_norm divides by", "tokens"),
        "objective.tau_pos": Row(POSITIVE, "SAPO: steepness of the gate at an advantage above 0"),
        "objective.tau_neg": Row(POSITIVE, "SAPO: steepness of the gate at an advantage below 0"),
        "advantage.normalize_by_std": Row(SWITCH, "divide by the group's standard deviation; false: Dr.GRPO"),
        "correction.mode": Row(choice("truncate", "mask"), "what to do with a weight outside its bounds"),
        "correction.level": Row(choice("token", "sequence"), "a weight for each token, or for each sequence"),
        "correction.low": Row(NOT_NEGATIVE, "smallest weight for the engine/trainer mismatch"),
        "correction.high": Row(POSITIVE, "largest weight for the engine/trainer mismatch"),
        "kl.coefficient": Row(NOT_NEGATIVE, "weight of the KL to the reference model", note=OFF_AT_0),
        "kl.kind": Row(choice(*KINDS_OF_KL, *(f"{kind}+" for kind in KINDS_OF_KL)), "estimator; +: the gradient of k2"),
        "kl.placement": Row(choice("loss", "reward"), "added to the loss, or subtracted from the reward"),
        "entropy.coefficient": Row(NUMBER, "weight of the entropy bonus, subtracted from the loss", note=OFF_AT_0),
    },
)
REWARD = Section(
    "Reward",
    {
        "reward.timeout": Row(POSITIVE_OR_NULL, "limit of one check", "s"),
        "reward.processes": Row(SIZE_OR_NULL, "parallel checks; null: one for each core, 8 at most", "processes"),
        "reward.memory_gib": Row(POSITIVE_OR_NULL, "memory limit of one check", "GiB"),
        "reward.last_number": Row(SWITCH, "take the last number where a response has no box or answer line"),
        "reward.worked_out": Row(SWITCH, "an answer that leaves uncomputed what the gold answer has computed scores 0"),
        "reward.marker": Row(TEXT, "exact_match: take the first number after it; without it, the last number"),
        "reward.markers": Row(
            ListOf(Text(empty=False)), "format: texts that must occur exactly once each, in this order"
        ),
        "reward.ends": Row(SWITCH, "format: the response must end with the last marker"),
        "reward.weights.*": Row(NUMBER, "weight of one reward of a weighted sum"),
        "reward.verifier": Row(TEXT, "the reward of a weighted sum that decides whether a response is correct"),
        "reward.rewards.*.timeout": Row(POSITIVE_OR_NULL, "limit of one check", "s"),
        "reward.rewards.*.processes": Row(SIZE_OR_NULL, "parallel checks", "processes"),
        "reward.rewards.*.memory_gib": Row(POSITIVE_OR_NULL, "memory limit of one check", "GiB"),
    },
)
OPTIMIZER = Section(
    "Optimizer",
    {
        "optimizer.lr": Row(NOT_NEGATIVE, "learning rate after the warm-up"),
        "optimizer.betas": Row(ListOf(Number(0, 1)), "decay rates of Adam's two moments"),
        "optimizer.weight_decay": Row(NOT_NEGATIVE, "weight decay of AdamW", note=OFF_AT_0),
        "optimizer.eps": Row(NOT_NEGATIVE, "added to Adam's denominator"),
        "optimizer.momentum": Row(Number(0, 1), "momentum of SGD"),
        "schedule.start_factor": Row(
            FRACTION, "fraction of the learning rate at the start of the warm-up; 1: no warm-up"
        ),
        "schedule.end_factor": Row(Number(0, 1), "fraction of the learning rate at the end of the warm-up"),
        "schedule.total_iters": Row(
            SIZE, "length of the warm-up", "optimizer steps", "; schedule.start_factor=1.0 skips the warm-up"
        ),
    },
)
POLICY = Section(
    "Policy",
    {
        "policy.old_log_probs": Row(
            choice("auto", "trainer", "rollout"),
            "source of the ratios' denominator: a forward pass of the trainer, or the engine; auto takes the engine's "
            "where both are equal (float32 on a CPU, no top_p, top_k or correction) or generation is a step ahead",
        ),
        "policy.gradient_clip": Row(
            POSITIVE_OR_NULL,
            "largest norm of the gradient over all parameters; null: off",
            note=", which switches it off",
        ),
        "policy.skip_zero_advantage": Row(
            SWITCH, "leave responses of advantage 0 out of the update; the gradient is the same"
        ),
        "policy.max_skipped_steps": Row(
            SIZE, "skips in a row, for a non-finite loss or gradient, that stop the run", "optimizer steps"
        ),
        "policy.max_logits_per_chunk": Row(
            SIZE_OR_NULL, "bounds the memory of the output layer; null: 2^27 on a GPU, 2^18 on a CPU", "logits"
        ),
        "policy.reference_on_cpu": Row(SWITCH, "keep the reference model in CPU memory"),
        "sharding.offload": Row(SWITCH, "keep parameters, gradients and optimizer state in CPU memory"),
        "sharding.reshard_after_forward": Row(
            Either((SWITCH, SIZE)),
            "false: keep a block's parameters gathered until its backward; a number: reshard over that many ranks",
        ),
        "sharding.reduce_gradients": Row(
            choice("last", "shards", "always"),
            "in which micro-batches of an optimizer step; last is fastest, shards takes the least memory",
        ),
        "sharding.checkpointing": Row(
            choice("none", "all", "selective"), "activation checkpointing; selective keeps matrix products"
        ),
    },
)
