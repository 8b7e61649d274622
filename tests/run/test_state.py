"""Where a run stands."""

from gmpo.run.state import RunState


def test_the_first_reason_stays() -> None:
    state = RunState()
    state.stop("a disk is full")
    state.stop("a guard was broken")
    assert state.stop_reason == "a disk is full"


def test_counts_come_back_from_a_checkpoint() -> None:
    state, resumed = RunState(), RunState()
    state.begin_step()
    state.policy_version, state.skipped_in_a_row = 4, 1
    resumed.load_state_dict(state.state_dict())
    assert (resumed.rollout_step, resumed.policy_version, resumed.skipped_in_a_row) == (1, 4, 1)


def test_progress_goes_from_0_to_1() -> None:
    state, seen = RunState(steps=5), []
    for _ in range(5):
        state.begin_step()
        seen.append(state.progress)
    assert seen == [0, 0.25, 0.5, 0.75, 1]
    assert RunState(steps=1).progress == 0
