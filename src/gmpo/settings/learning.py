"""What is learned: the objective, its terms, the optimizer, and how the policy computes."""

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
            NOT_NEGATIVE, "how far down a ratio counts; GMPO and HMPO: in log space, others: below 1"
        ),
        "objective.clip_high": Row(NOT_NEGATIVE, "how far up a ratio counts"),
        "objective.clip_level": Row(
            choice("token", "sequence", "none"), "what is clipped: each token, or their sum once"
        ),
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
        "correction.mode": Row(choice("truncate", "mask"), "what happens to a weight beyond its bounds"),
        "correction.level": Row(choice("token", "sequence"), "a weight for each token, or for each sequence"),
        "correction.low": Row(NOT_NEGATIVE, "the smallest weight between engine and trainer"),
        "correction.high": Row(POSITIVE, "the largest weight between engine and trainer"),
        "kl.coefficient": Row(NOT_NEGATIVE, "weight of the KL to the reference model", note=OFF_AT_0),
        "kl.kind": Row(choice(*KINDS_OF_KL, *(f"{kind}+" for kind in KINDS_OF_KL)), "estimator; +: the gradient of k2"),
        "kl.placement": Row(choice("loss", "reward"), "where it is taken off"),
        "entropy.coefficient": Row(NUMBER, "weight of a bonus, taken off the loss", note=OFF_AT_0),
    },
)
REWARD = Section(
    "Reward",
    {
        "reward.timeout": Row(POSITIVE_OR_NULL, "of one check", "s"),
        "reward.processes": Row(SIZE_OR_NULL, "that check at once; null: one for each core, 8 at most", "processes"),
        "reward.memory_gib": Row(POSITIVE_OR_NULL, "of one check", "GiB"),
        "reward.last_number": Row(SWITCH, "the last number counts where a response has no box or answer line"),
        "reward.worked_out": Row(SWITCH, "an answer that leaves open what the gold answer has computed scores 0"),
        "reward.marker": Row(TEXT, "exact_match: the first number after it counts; without it, the last number"),
        "reward.markers": Row(ListOf(Text(empty=False)), "format: texts that stand exactly once each, in this order"),
        "reward.ends": Row(SWITCH, "format: the last marker ends the response"),
        "reward.weights.*": Row(NUMBER, "of a part of a weighted sum"),
        "reward.verifier": Row(TEXT, "the part of a weighted sum that says whether a response is right"),
        "reward.rewards.*.timeout": Row(POSITIVE_OR_NULL, "of one check", "s"),
        "reward.rewards.*.processes": Row(SIZE_OR_NULL, "that check at once", "processes"),
        "reward.rewards.*.memory_gib": Row(POSITIVE_OR_NULL, "of one check", "GiB"),
    },
)
OPTIMIZER = Section(
    "Optimizer",
    {
        "optimizer.lr": Row(NOT_NEGATIVE, "learning rate after the warm-up"),
        "optimizer.betas": Row(ListOf(Number(0, 1)), "of Adam's two moments"),
        "optimizer.weight_decay": Row(NOT_NEGATIVE, "of AdamW", note=OFF_AT_0),
        "optimizer.eps": Row(NOT_NEGATIVE, "of Adam's denominator"),
        "optimizer.momentum": Row(Number(0, 1), "of SGD"),
        "schedule.start_factor": Row(FRACTION, "the warm-up begins at this part of the learning rate; 1: no warm-up"),
        "schedule.end_factor": Row(Number(0, 1), "the part of the learning rate that the warm-up ends at"),
        "schedule.total_iters": Row(
            SIZE, "length of the warm-up", "optimizer steps", "; schedule.start_factor=1.0 leaves out the warm-up"
        ),
    },
)
POLICY = Section(
    "Policy",
    {
        "policy.old_log_probs": Row(
            choice("auto", "trainer", "rollout"),
            "the denominator of the ratios: a pass of the trainer, or the engine's own; auto takes the engine's where "
            "both are the same (float32 on a CPU, no top_p, top_k or correction) or generation is a step ahead",
        ),
        "policy.gradient_clip": Row(
            POSITIVE_OR_NULL,
            "the largest norm of a gradient over all parameters; null: off",
            note=", which switches it off",
        ),
        "policy.skip_zero_advantage": Row(SWITCH, "responses of advantage 0 skip the update; the gradient is the same"),
        "policy.max_skipped_steps": Row(
            SIZE, "so many in a row, for a loss or gradient that is not finite, stop the run", "optimizer steps"
        ),
        "policy.max_logits_per_chunk": Row(
            SIZE_OR_NULL, "bounds the memory of the output layer; null: 2^27 on a GPU, 2^18 on a CPU", "logits"
        ),
        "policy.reference_on_cpu": Row(SWITCH, "the reference model lives in CPU memory"),
        "sharding.offload": Row(SWITCH, "parameters, gradients and optimizer state live in CPU memory"),
        "sharding.reshard_after_forward": Row(
            Either((SWITCH, SIZE)),
            "false: a block's parameters stay whole until its backward; a number: over so many ranks",
        ),
        "sharding.reduce_gradients": Row(
            choice("last", "shards", "always"),
            "in which micro-batch of an optimizer step; last is fastest, shards smallest",
        ),
        "sharding.checkpointing": Row(
            choice("none", "all", "selective"), "of activations; selective keeps products of matrices"
        ),
    },
)
