"""The LightningModule on a real model: what its updates do to the weights."""

from dataclasses import dataclass, field, replace
from math import isnan

import pytest
import torch
from lightning import Callback
from small_training import LOSSES, fit, groups, module, quiet_trainer, whole
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

from gmpo.batching import sequences_of
from gmpo.models.chunked_log_probs import Values
from gmpo.models.weights import whole_weights
from gmpo.objectives import GMPO, PolicyLoss
from gmpo.objectives.objective import LossInputs
from gmpo.parallel.fsdp import Sharding
from gmpo.policy.forward import Forward
from gmpo.policy.module import PolicyModule
from gmpo.policy.update import Skipped
from gmpo.run.state import RunState
from gmpo.types import Group, MicroBatch, PromptBatch, Rollout


def test_zero_advantage_responses_are_not_sent_through_the_model(qwen2_folder: str) -> None:
    def rows(name: str) -> int:
        policy = module(qwen2_folder, LOSSES[name])
        policy.configure_model()
        (mini_batch,) = policy.old_log_probs.distribute(groups()).mini_batches(pad_token_id=0)
        assert sum(mask.any(-1).sum() for mask in mini_batch.masks()) == 12
        return sum(len(part.mask) for part in mini_batch.micro_batches)

    assert rows("gmpo") == rows("grpo_corrected") == 6
    assert rows("gmpo_kl_entropy") == 12


def no_signal() -> list[Group]:
    return [Group(g.prompt, [Rollout(r.response, 1.0) for r in g.rollouts]) for g in groups()]


@pytest.mark.parametrize("name", ["gmpo", "grpo"])
def test_the_skip_changes_no_optimizer_step(qwen2_folder: str, name: str) -> None:
    """Not even where a mini-batch has nothing but idle responses: the momentum of AdamW goes on, its weights decay."""

    def trained(skip: bool) -> PolicyModule:
        policy = module(qwen2_folder, LOSSES[name], mini_batch_prompts=1, skip_zero_advantage=skip)
        return fit(policy, steps=3)  # the second group is all idle

    on, off = trained(True), trained(False)
    assert on.policy_version == off.policy_version == 12
    for (_, one), (_, other) in zip(on.weights(), off.weights(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    for metric in ("policy/loss", "policy/grad_norm", "policy/clip_fraction"):
        assert on.trainer.callback_metrics[metric] == pytest.approx(off.trainer.callback_metrics[metric].item())


def test_a_step_without_any_signal_is_still_a_step(qwen2_folder: str) -> None:
    policy = fit(module(qwen2_folder, mini_batch_prompts=2), batch=no_signal())
    assert policy.state.policy_version == 2
    assert policy.trainer.callback_metrics["policy/grad_norm"] == 0
    assert policy.trainer.callback_metrics["policy/clip_fraction"] == 0


def test_a_mini_batch_with_nothing_in_the_loss_is_no_optimizer_step(qwen2_folder: str) -> None:
    batch = groups()
    for rollout in batch[0].rollouts:
        rollout.in_loss = False
    policy = fit(module(qwen2_folder, mini_batch_prompts=1), batch=batch)
    assert policy.state.policy_version == 3
    assert batch[0].rollouts[0].old_log_probs is None


def test_the_reference_is_frozen_and_only_there_for_a_kl(qwen2_folder: str) -> None:
    assert fit(module(qwen2_folder), steps=0).old_log_probs.reference is None
    policy = fit(module(qwen2_folder, LOSSES["gmpo_kl_entropy"], reference_on_cpu=True), steps=3)
    assert policy.old_log_probs.reference is not None
    assert policy.model is not None
    assert not any(parameter.requires_grad for parameter in policy.old_log_probs.reference.model.parameters())
    fresh = dict(fit(module(qwen2_folder), steps=0).weights())
    for name, parameter in policy.old_log_probs.reference.model.named_parameters():
        assert torch.equal(whole(parameter.detach()), fresh[name])
    assert max((tensor - fresh[name]).abs().max() for name, tensor in policy.weights()) > 1e-3


def test_the_reference_is_not_saved_with_the_policy(qwen2_folder: str) -> None:
    with_kl, without = (fit(module(qwen2_folder, LOSSES[name]), steps=0) for name in ("gmpo_kl_entropy", "gmpo"))
    assert with_kl.state_dict().keys() == without.state_dict().keys()


def test_the_kl_to_the_reference_starts_at_0_and_grows(qwen2_folder: str) -> None:
    one, four = (fit(module(qwen2_folder, LOSSES["gmpo_kl_entropy"]), steps) for steps in (1, 4))
    assert one.trainer.callback_metrics["policy/kl_ref"] == 0
    assert four.trainer.callback_metrics["policy/kl_ref"] > 1e-4


def test_one_optimizer_step_for_each_mini_batch(qwen2_folder: str) -> None:
    policy = fit(module(qwen2_folder, mini_batch_prompts=2), steps=3)
    assert policy.state.policy_version == 6
    assert policy.trainer.global_step == 6
    assert policy.trainer.fit_loop.epoch_loop.batch_progress.total.completed == 3


def test_the_first_mini_batch_is_on_policy_and_the_next_is_not(qwen2_folder: str) -> None:
    one = fit(module(qwen2_folder, mini_batch_prompts=4)).trainer.callback_metrics
    two = fit(module(qwen2_folder, mini_batch_prompts=2)).trainer.callback_metrics
    assert one["policy/log_ratio_max"] == pytest.approx(0, abs=1e-12)
    assert one["policy/log_ratio_min"] == pytest.approx(0, abs=1e-12)
    assert two["policy/log_ratio_max"] > 0 > two["policy/log_ratio_min"]


def passes(policy: PolicyModule, **settings: object) -> tuple[list[int], list[int]]:
    """Sequences of each pass with a gradient and without, in one rollout step."""
    found: dict[bool, list[int]] = {True: [], False: []}
    policy.configure_model()
    assert policy.model is not None
    policy.model.register_forward_pre_hook(
        lambda _, args, kwargs: found[torch.is_grad_enabled()].append(len(kwargs["input_ids"])), with_kwargs=True
    )
    fit(policy)
    return found[True], found[False]


@pytest.mark.parametrize("name", ["gmpo", "gmpo_corrected"])
def test_old_log_probs_take_a_pass_only_where_an_update_came_before(qwen2_folder: str, name: str) -> None:
    """Of the four groups of three responses, the second and each last response have no signal."""
    assert passes(module(qwen2_folder, LOSSES[name], mini_batch_prompts=4)) == ([6], [])
    assert passes(module(qwen2_folder, LOSSES[name], mini_batch_prompts=2)) == ([2, 4], [4])
    assert passes(module(qwen2_folder, LOSSES[name], mini_batch_prompts=2, old_log_probs="rollout")) == ([2, 4], [])


@pytest.mark.parametrize("name", ["gmpo_corrected", "hmpo_everything"])
def test_old_log_probs_of_the_first_update_are_those_of_a_pass(qwen2_folder: str, name: str) -> None:
    class WithPass(PolicyModule):
        def training_step(self, batch: PromptBatch, batch_idx: int) -> None:
            self.old_log_probs.fill(batch.groups)
            super().training_step(batch, batch_idx)

    own, other = (
        fit(module(qwen2_folder, LOSSES[name], mini_batch_prompts=2, skip_zero_advantage=False, kind=kind), steps=2)
        for kind in (PolicyModule, WithPass)
    )
    for (_, one), (_, two) in zip(own.weights(), other.weights(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
    metrics, expected = own.trainer.callback_metrics, other.trainer.callback_metrics
    assert metrics.keys() == expected.keys()
    assert {"policy/entropy", "rollout/log_prob_gap", "rollout/corrected_fraction"} <= metrics.keys()
    for metric, value in metrics.items():
        assert value == pytest.approx(expected[metric].item(), abs=1e-6), metric


def test_updates_make_good_responses_likelier(qwen2_folder: str) -> None:
    before, after = groups(), groups()
    policy = fit(module(qwen2_folder), steps=8)
    policy.old_log_probs.fill(after)
    fit(module(qwen2_folder), steps=0).old_log_probs.fill(before)
    gain = 0.0
    for (_, new), (_, old) in zip(sequences_of(after), sequences_of(before), strict=True):
        assert new.old_log_probs is not None
        assert old.old_log_probs is not None
        gain += new.advantage * (new.old_log_probs - old.old_log_probs).sum().item()
    assert gain > 1


def test_the_behaviour_policy_can_be_the_engine(qwen2_folder: str) -> None:
    batch = groups()
    policy = fit(module(qwen2_folder, mini_batch_prompts=2, old_log_probs="rollout"), batch=batch)
    (gap,) = [policy.trainer.callback_metrics["rollout/log_prob_gap"]]
    first = [r for g in batch[:2] for r in g.rollouts if r.advantage]
    assert all(torch.equal(r.old_log_probs, torch.full((len(r.response.token_ids),), -3.0)) for r in first)  # type: ignore[arg-type]
    trainer = fit(module(qwen2_folder), steps=0)
    fresh = groups()
    trainer.old_log_probs.fill(fresh)
    own = [r.old_log_probs for g in fresh[:2] for r in g.rollouts if r.advantage]
    assert gap == pytest.approx((torch.cat(own) + 3.0).abs().mean().item())  # type: ignore[arg-type]
    assert policy.trainer.callback_metrics["policy/entropy"] > 0


def test_an_optimizer_step_without_a_finite_gradient_is_skipped(qwen2_folder: str) -> None:
    """The others are made as if the bad mini-batch had not been there."""
    bad, good = groups(), groups()
    bad[0].rollouts[0].advantage = float("nan")
    told: list[Skipped] = []
    policy = module(qwen2_folder, mini_batch_prompts=2)
    policy.on_skip.append(lambda mini_batch, skipped: told.append(skipped))
    fit(policy, batch=bad)
    assert policy.state.policy_version == 1
    assert policy.state.skipped_in_a_row == 0
    assert policy.trainer.callback_metrics["policy/skipped_steps"] == 1
    assert [(skipped.policy_version, isnan(skipped.loss)) for skipped in told] == [(0, True)]
    other = fit(module(qwen2_folder, mini_batch_prompts=2), batch=good[2:])
    pairs = zip(policy.weights(), other.weights(), strict=True)
    assert all(torch.equal(whole(mine), whole(expected)) for (_, mine), (_, expected) in pairs)


def test_skipped_steps_in_a_row_end_the_training(qwen2_folder: str) -> None:
    batch = groups()
    batch[0].rollouts[0].advantage = float("inf")
    policy, told = module(qwen2_folder, max_skipped_steps=2), []
    policy.on_skip.append(lambda mini_batch, skipped: told.append(skipped))
    fit(policy, batch=batch, steps=5)
    assert policy.state.stop_reason is not None
    assert policy.state.stop_reason.startswith("2 optimizer steps in a row were skipped")
    assert len(told) == 2
    assert policy.state.policy_version == 0


def test_weights_are_the_models_whole_parameters(qwen2_folder: str) -> None:
    policy = fit(module(qwen2_folder), steps=0)
    weights = dict(policy.weights())
    assert policy.model is not None
    assert set(weights) == {name for name, _ in policy.model.named_parameters()}
    assert all(not isinstance(tensor, DTensor) for tensor in weights.values())


def test_half_precision_computes_and_float32_is_kept(qwen2_folder: str) -> None:
    half, single = (fit(module(qwen2_folder, dtype=dtype), steps=2) for dtype in ("bfloat16", "float32"))
    assert half.model is not None
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    other, same = (dict(policy.weights(torch.bfloat16)) for policy in (half, single))
    assert {tensor.dtype for tensor in other.values()} == {torch.bfloat16}
    moved = dict(fit(module(qwen2_folder, dtype="float32"), steps=0).weights())
    for name, tensor in half.weights():
        assert tensor.dtype == torch.float32
        assert 1e-4 < (tensor - moved[name]).abs().max() < 1e-2, "two steps of AdamW at 1e-3"
    assert any((other[name] != same[name]).any() for name in other), "it was computed in another precision"
    loss, exact = (policy.trainer.callback_metrics["policy/grad_norm"].item() for policy in (half, single))
    assert loss == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("bucket", [1, 10**9])
def test_buckets_change_no_weight(qwen2_folder: str, bucket: int) -> None:
    policy = fit(module(qwen2_folder), steps=0)
    assert policy.model is not None
    found = list(whole_weights(policy.model, policy.device, bucket=bucket))
    assert [name for name, _ in found] == [name for name, _ in policy.model.named_parameters()]
    assert all(
        torch.equal(tensor, whole(p.detach())) for (_, tensor), p in zip(found, policy.model.parameters(), strict=True)
    )


@pytest.mark.parametrize(("dtype", "sharded"), [("float32", False), ("bfloat16", True)])
def test_one_rank_with_nothing_to_cast_has_plain_parameters(qwen2_folder: str, dtype: str, sharded: bool) -> None:
    policy = fit(module(qwen2_folder, LOSSES["gmpo_kl_entropy"], dtype=dtype), steps=1)
    assert policy.model is not None
    assert policy.old_log_probs.reference is not None
    for model in (policy.model, policy.old_log_probs.reference.model):
        assert {isinstance(parameter, DTensor) for parameter in model.parameters()} == {sharded}


class Watched(PolicyModule):
    """Notes, as each micro-batch begins, whether the ones before have left this rank a gradient."""

    def configure_model(self) -> None:
        super().configure_model()
        self.reduced: list[bool] = []
        reduced = self.reduced

        class Noting(Forward):
            def __call__(self, batch: MicroBatch, with_entropy: bool = False) -> Values:
                reduced.append(any(parameter.grad is not None for parameter in self.model.parameters()))
                return super().__call__(batch, with_entropy)

        self.update = replace(self.update, forward=Noting(**vars(self.update.forward)))


@pytest.mark.parametrize(("when", "early"), [("last", False), ("shards", True), ("always", True)])
def test_gradients_are_reduced_after_the_last_micro_batch(qwen2_folder: str, when: str, early: bool) -> None:
    sharding = Sharding(reduce_gradients=when)  # type: ignore[arg-type]
    policy = module(qwen2_folder, budget=45, kind=Watched, dtype="bfloat16", sharding=sharding)
    assert isinstance(policy, Watched)
    fit(policy)
    assert len(policy.reduced) > 2
    assert policy.reduced == [False] + [early] * (len(policy.reduced) - 1)


class FrozenNorms(PolicyModule):
    def configure_model(self) -> None:
        super().configure_model()
        assert self.model is not None
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("norm" not in name)


def test_a_frozen_parameter_is_not_the_optimizers(qwen2_folder: str) -> None:
    before = dict(fit(module(qwen2_folder), steps=0).weights())
    policy = fit(module(qwen2_folder, kind=FrozenNorms), steps=2)
    assert policy.model is not None
    frozen = {name for name, parameter in policy.model.named_parameters() if not parameter.requires_grad}
    assert frozen
    assert all(parameter.grad is None for parameter in policy.model.parameters())
    (group,) = policy.trainer.optimizers[0].param_groups
    assert len(group["params"]) == len(before) - len(frozen)
    assert {name for name, tensor in policy.weights() if torch.equal(tensor, before[name])} == frozen


@dataclass(frozen=True)
class Recording(GMPO):
    """Writes down how far the run has come at each micro-batch."""

    seen: list[float] = field(default_factory=list)

    def loss(self, inputs: LossInputs) -> Tensor:
        self.seen.append(inputs.progress)
        return super().loss(inputs)


def test_an_objective_sees_how_far_the_run_has_come(qwen2_folder: str) -> None:
    objective, state = Recording(), RunState(steps=3)

    class Steps(Callback):
        def on_train_batch_start(self, *_: object) -> None:
            state.begin_step()

    policy = module(qwen2_folder, PolicyLoss(objective), mini_batch_prompts=4, state=state)
    batches = [PromptBatch([], groups()) for _ in range(3)]
    quiet_trainer(Steps()).fit(policy, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    assert objective.seen == [0, 0.5, 1]
