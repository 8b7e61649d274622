"""The KL to the reference as a part of the reward."""

from statistics import fmean

from gmpo.parallel.collectives import gather_lists
from gmpo.policy.module import PolicyModule
from gmpo.types import Group


def penalize_kl(policy: PolicyModule, groups: list[Group]) -> dict[str, float]:
    """Subtract the KL from the rewards of this rank's groups if it is placed there; return its metric. Collective."""
    if not policy.loss.kl.in_reward:
        return {}
    policy.old_log_probs.fill(groups)
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    for rollout in rollouts:
        assert rollout.old_log_probs is not None
        assert rollout.ref_log_probs is not None
        rollout.kl_penalty = policy.loss.kl.of_response(rollout.old_log_probs, rollout.ref_log_probs)
    return {"reward/kl_penalty": fmean(gather_lists([rollout.kl_penalty for rollout in rollouts]))}
