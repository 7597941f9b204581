"""DAgger: the expert goes on from states that failed attempts of a small gridworld were in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from journeyman.agent.chance import keyed_seed
from journeyman.agent.data import Source, Split
from journeyman.agent.rollout import Attempt, run_rollout
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.files.training_sets import sft_rows
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory, Trajectories
from journeyman.workflows import expert_iteration as algorithm
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef, Session, borrow, lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.stages.dagger import dagger
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.score import score
from journeyman.workflows.stages.warm_start import verified_demonstrations

SAID = [*(f'<tool_call>move("{way}")</tool_call>' for way in ("up", "down", "left", "right")), "I stay."]


def wander(prompt: str, seed: int) -> str:
    """A move at random, now and then none."""
    return SAID[seed % len(SAID)]


def begin(folder: Path, *, max_context: int = 1024, max_tokens: int = 64, **options: int) -> RunRef:
    """A run with two scored attempts at each of 8 training and 2 validation tasks, in iteration 1, by wandering."""
    settings = parse_settings(
        {
            "run": {"name": "dagger", "seed": 3, "iterations": 1, "engine": "none", "output": str(folder)},
            "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
            "environment": {"name": "gridworld", "size": 4, "holes": 0.15, "min_distance": 3, "max_turns": 10},
            "tasks": {"train": 8, "validation": 2, "test": 1},
            "model": {"hidden": 32, "layers": 1},
            "sampler": {"kind": "transformers", "max_context": max_context},
            "generate": {"max_tokens": max_tokens},
            "dagger": options,
        },
        "the test",
    )
    ref = start_run(settings)
    with lend(ref, Reporter(quiet=True)) as session:
        prepare(ref)
        session.store.runs.begin_iteration(ref.run_id, 1)
        policy = NewPolicy(1, None, 0, "warm_start", "none", {}, promoted=True)
        session.store.policies.add(ref.run_id, policy)
        make_attempts(session)
        score(ref, 1)
    return ref


def make_attempts(session: Session) -> None:
    tasks = [t for split in (Split.TRAIN, Split.VALIDATION) for t in session.store.tasks.of(session.run.id, split)]
    attempts = [Attempt(task, number, keyed_seed("test", task.hash, number)) for task in tasks for number in range(2)]
    sampler = ScriptedSampler(session.renderer, wander)
    made = run_rollout(attempts, session.open_environment, sampler, session.renderer, session.limits(1.0))
    policy = session.store.policies.numbered(session.run.id, 1)
    rows = [NewTrajectory(f"policy/1/{t.task_hash}/v1", t, 1, policy.id) for t in made]
    session.store.trajectories.add(session.run.id, rows)


def shown(session: Session) -> list[StoredTrajectory]:
    return session.store.trajectories.of(session.run.id, source=Source.EXPERT)


def content(session: Session) -> list[Any]:
    """All that two equal runs have in common."""
    return [
        (t.group, t.trajectory.turns, t.verdicts, [s.completion_ids.tolist() for s in t.trajectory.segments])
        for t in shown(session)
    ]


def test_the_expert_goes_on_from_states_that_failed_attempts_were_in(tmp_path: Path) -> None:
    ref = begin(tmp_path, per_attempt=2)
    with lend(ref, Reporter(quiet=True)) as session:
        made = dagger(ref, 1)
        rows = shown(session)
        assert made == {"demonstrations": len(rows)}
        attempts = {t.id: t for t in session.store.trajectories.of(ref.run_id, source=Source.POLICY)}
        assert len(rows) > len(attempts) / 4
        starts = []
        for row in rows:
            parent = attempts[row.parent_id]
            group, turn = row.group.rsplit("/", 1)
            assert group == f"dagger/{parent.key}"
            assert (row.relabeller, row.iteration, row.policy_id, row.task) == ("dagger/1", 1, None, parent.task)
            assert not session.rubric.succeeded(parent.verdicts)
            assert session.rubric.succeeded(row.verdicts)
            check_tokens(session, row, parent, int(turn))
            starts.append((row.task.hash, *(t.action for t in parent.trajectory.turns[: int(turn)])))
        assert max(Counter(row.parent_id for row in rows).values()) == 2
        assert len(set(map(repr, starts))) == len(rows)  # no history twice
        assert max(map(len, starts)) > 2
        assert session.store.upkeep.check() == []


def check_tokens(session: Session, row: StoredTrajectory, parent: StoredTrajectory, turn: int) -> None:
    """The attempt's turns come first, token by token, and are masked; the expert's follow and are trained."""
    told, original = row.trajectory, parent.trajectory
    assert told.turns[:turn] == original.turns[:turn]
    assert told.turns[-1].reward == 1.0
    assert len(told.turns) <= session.task_set.max_turns
    actions = session.task_set.demonstrate(row.task, [t.action for t in told.turns[:turn]])
    assert [t.action.tool_calls for t in told.turns[turn:]] == [a.tool_calls for a in actions or ()]
    ((segment,), (sampled,)) = told.segments, original.segments
    assert segment.behaviour_logprobs is None
    first = int(np.argmax(segment.loss_mask))
    assert segment.prompt_ids.tolist() == sampled.prompt_ids.tolist()
    assert segment.completion_ids[:first].tolist() == sampled.completion_ids[:first].tolist()
    assert int((np.diff(sampled.loss_mask[:first].astype(int), prepend=0) == 1).sum()) == turn
    tools = session.open_environment(row.task).tools
    trained = [i for action in actions or () for i in session.renderer.action_ids(action, tools)]
    assert segment.completion_ids[segment.loss_mask].tolist() == trained


def test_a_stage_that_was_killed_or_is_done_again_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, killed = begin(tmp_path / "a", per_attempt=1), begin(tmp_path / "b", per_attempt=1)
    with lend(whole, Reporter(quiet=True)) as session:
        first = dagger(whole, 1)
        expected = content(session)
        assert dagger(whole, 1) == first
        assert content(session) == expected
        assert expected

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, lend(killed, Reporter(quiet=True)) as session:
        patched.setattr(Trajectories, "add", dies)
        with pytest.raises(KeyboardInterrupt):
            dagger(killed, 1)
        assert content(session) == []
    assert dagger(killed, 1) == first  # alone, with a session of its own
    with lend(killed, Reporter(quiet=True)) as session:
        assert content(session) == expected


def test_held_out_attempts_are_left_alone(tmp_path: Path) -> None:
    ref = begin(tmp_path, per_attempt=10)
    with lend(ref, Reporter(quiet=True)) as session:
        dagger(ref, 1)
        held_out = session.store.trajectories.of(ref.run_id, source=Source.POLICY, split=Split.VALIDATION)
        assert len(held_out) == 4
        assert {t.task.split for t in shown(session)} == {Split.TRAIN}


def test_limits_hold(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    few = begin(tmp_path / "a", per_attempt=3, limit=4)
    assert dagger(few, 1) == {"demonstrations": 4}
    short = begin(tmp_path / "b", per_attempt=3, max_context=300)
    with lend(short, Reporter(quiet=True)) as session:
        assert dagger(short, 1)["demonstrations"] > 0
        segments = [s for t in shown(session) for s in t.trajectory.segments]
        assert max(len(s.prompt_ids) + len(s.completion_ids) for s in segments) <= 300
    (tmp_path / "c").mkdir()
    assert dagger(begin(tmp_path / "c", per_attempt=3, max_tokens=3), 1) == {"demonstrations": 0}  # calls are longer


def test_the_warm_start_and_chats_for_imitation_know_them_apart(tmp_path: Path) -> None:
    ref = begin(tmp_path, per_attempt=1)
    with lend(ref, Reporter(quiet=True)) as session:
        dagger(ref, 1)
        assert shown(session)
        assert verified_demonstrations(session) == []
        attempts = session.store.trajectories.of(ref.run_id, source=Source.POLICY, split=Split.TRAIN)
        solved = sum(session.rubric.succeeded(t.verdicts) for t in attempts)
        assert len(list(sft_rows(session.store, ref.run_id, session.rubric.succeeded))) == solved


@pytest.mark.parametrize("per_attempt", [0, 1])
def test_the_loop_calls_it_where_it_is_switched_on(tmp_path: Path, per_attempt: int) -> None:
    """The learning stages only leave their rows here."""
    ref = begin(tmp_path, per_attempt=per_attempt)
    called: list[str] = []

    def wrap(stage: algorithm.Stage) -> algorithm.Stage:
        def run(*arguments: Any) -> Any:
            called.append(stage.__name__)
            if stage.__name__ == "dagger":
                return stage(*arguments)
            with borrow(ref) as session:
                leave_rows(session, stage.__name__)
            return {}

        return run

    reporter = Reporter(quiet=True)
    algorithm.expert_iteration(ref, reporter, wrap)
    middle = called[called.index("generate") : called.index("test")]
    stages = ["generate", "score", "relabel", *(["dagger"] if per_attempt else [])]
    stages += ["finetune", "evaluate", "audit", "promote"]
    assert middle == stages
    if not per_attempt:
        assert "dagger" not in reporter.rows[1]
        return
    first, second = reporter.rows
    with lend(ref, Reporter(quiet=True)) as session:
        assert (first["dagger"], second["dagger"]) == (0, len(shown(session)))
    assert (first["attempts"], second["attempts"], second["relabels"]) == (0, 16, 0)


def leave_rows(session: Session, stage: str) -> None:
    store, run_id = session.store, session.run.id
    if stage == "finetune":
        parent = store.policies.numbered(run_id, 1)
        store.policies.add(run_id, NewPolicy(2, parent.id, 1, "finetune", "none", {}))
    elif stage == "evaluate":
        number = len(store.policies.of(run_id))
        store.evaluations.add(run_id, EvaluationInfo(Split.VALIDATION, number - 1, number, 2, 1, 0.0, 0.0, None))
