"""Attempts that an environment's outage broke: learned from by nobody, counted in nothing, and made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journeyman.agent.data import Source, Split, Status
from journeyman.agent.errors import UsageError
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.workflows.attempts.curriculum import choose_tasks
from journeyman.workflows.session.session import Session
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.finetune import finetune
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.report import iteration_row
from journeyman.workflows.stages.score import score
from journeyman.workflows.updates.lessons import lessons

HOWS = ("raise", "exit", "cancel", "block", "nonsense")
PLACES = [(where, how) for where in ("open", "start", "step") for how in HOWS]
PLACES += [("start", "hang"), ("step", "hang"), ("step", "nan"), ("tools", "")]
PPO = {"estimator": {"name": "gae"}, "critic": {"kind": "head"}}
HARMLESS = [("close", how) for how in (*HOWS, "hang")]


def open_fragile(watched, **sections) -> Session:
    """Everyone is right, as a text verifier sees it, whatever the environment does."""
    switch = watched.folder / "switch"
    environment = {"name": "watched_plugins:Fragile", "switch": str(switch), "step_seconds": 0.2}
    session = watched.open(environment=environment, **sections)
    watched.candidate(session, 0, lambda a, b: f"answer {a + b}")
    return session


def breaks(watched, sums, where="step", how="raise") -> None:
    (Path(watched.folder) / "switch").write_text(json.dumps({"sums": list(sums), "where": where, "how": how}))


def attempts(session: Session, split: Split) -> list:
    return session.store.trajectories.of(session.run.id, split=split, source=Source.POLICY)


@pytest.mark.parametrize(("where", "how"), PLACES)
def test_what_broke_is_no_attempt_of_the_policys(watched, where: str, how: str) -> None:
    session = open_fragile(watched)
    breaks(watched, [0, 1], where, how)
    row = evaluate(session.ref, 0)
    assert (row["pass@1"], row["tasks"]) == (1.0, 6)
    broken = [t for t in attempts(session, Split.VALIDATION) if t.trajectory.broken]
    assert len(broken) == 2
    named = "start" if where == "tools" or (where, how) == ("open", "nonsense") else where
    named = "start" if where == "open" and how == "block" else named  # what sleeps in open returns None in the end
    for stored in broken:
        assert stored.trajectory.error.startswith((f"{named}: ", f"{where}: "))
        (verdict,) = stored.verdicts.values()
        assert (verdict.status, verdict.score) == (Status.ERROR, None)
        assert verdict.explanation.startswith("not asked: the environment broke (")


@pytest.mark.parametrize(("where", "how"), HARMLESS)
def test_what_breaks_at_its_close_has_been_done(watched, where: str, how: str) -> None:
    session = open_fragile(watched)
    breaks(watched, range(8), where, how)
    assert evaluate(session.ref, 0)["pass@1"] == 1.0
    assert not any(t.trajectory.broken for t in attempts(session, Split.VALIDATION))


def test_nothing_is_learned_from_what_broke(watched) -> None:
    session = open_fragile(watched, generate={"tasks": 4, "attempts": 4})
    evaluate(session.ref, 0)

    def reply(prompt: str, seed: int) -> str:
        return ("answer", "crash", "what?", "answer")[seed % 4]

    session.sampler = lambda policy: ScriptedSampler(session.renderer, reply)
    breaks(watched, [0])
    generate(session.ref, 1)
    found = score(session.ref, 1)
    fresh = attempts(session, Split.TRAIN)
    taught = {lesson.stored.id: lesson for lesson in lessons(session, 1, session.base_learner(), fresh, [])}
    assert found["without_reward"] == sum(t.trajectory.broken for t in fresh) > 4
    for stored in fresh:
        lesson = taught[stored.id]
        assert (lesson.reward is None) == stored.trajectory.broken
        if stored.trajectory.broken:
            assert (lesson.mean_advantage, lesson.nll_weight) == (0.0, 0.0)
        else:
            siblings = [taught[t.id] for t in fresh if t.group == stored.group and not t.trajectory.broken]
            mean = sum(one.reward for one in siblings) / len(siblings)
            assert (lesson.mean_advantage > 0) == (lesson.reward > mean)
    row = iteration_row(session, 0)
    assert row["broken"] == 0


@pytest.mark.parametrize("sections", [{}, {"kl": {"weight": 0.1, "place": "reward"}}, PPO], ids=["group", "kl", "ppo"])
def test_an_update_takes_attempts_without_a_token_as_nothing(watched, sections) -> None:
    """What broke before its first turn, and prompts that leave no room for one, are data like other attempts."""
    session = open_fragile(watched, generate={"tasks": 6, "attempts": 4, "max_tokens": 8}, **sections)
    evaluate(session.ref, 0)
    session.base_learner().save(session.artifacts / "x", 1)
    session.sampler = lambda policy: ScriptedSampler(
        session.renderer, lambda prompt, seed: ("answer", "what?")[seed % 2]
    )
    first, *_ = choose_tasks(session, 1)
    breaks(watched, [int(first.goal)], "start")
    generate(session.ref, 1)
    score(session.ref, 1)
    fresh = attempts(session, Split.TRAIN)
    assert sum(not stored.trajectory.segments for stored in fresh) == 4
    stats = finetune(session.ref, 1)
    assert stats["steps"] > 0
    assert stats["rows"] == len(fresh) - 4 > 0


def test_most_broken_stops_the_run_with_the_reason_and_the_mended_go_on(watched) -> None:
    session = open_fragile(watched)
    breaks(watched, range(5), "step", "hang")
    reason = r"v1 on validation: 5 of 8 attempts have no reward; .*\(step: no answer within 0\.2 s\)"
    with pytest.raises(UsageError, match=reason):
        evaluate(session.ref, 0)
    assert session.store.evaluations.of(session.run.id, Split.VALIDATION) == []
    before = [t.id for t in attempts(session, Split.VALIDATION)]
    breaks(watched, [])
    row = evaluate(session.ref, 0)
    assert (row["pass@1"], row["tasks"]) == (1.0, 8)
    made = attempts(session, Split.VALIDATION)
    assert [t.id for t in made] == before
    assert not any(t.trajectory.broken for t in made)
    assert all(len(t.verdicts) == 1 and len(t.trajectory.turns) == 1 for t in made)
    assert session.store.upkeep.check() == []


def test_most_broken_in_training_stops_the_run_too(watched) -> None:
    session = open_fragile(watched, generate={"tasks": 4, "attempts": 2})
    evaluate(session.ref, 0)
    breaks(watched, [0, 1, 2])
    generate(session.ref, 1)
    with pytest.raises(
        UsageError, match=r"iteration 1: score: 6 of 8 attempts have no reward; .*step: RuntimeError: boom"
    ):
        score(session.ref, 1)
    breaks(watched, [])
    assert score(session.ref, 1)["without_reward"] == 0
    assert session.store.upkeep.check() == []


def says(hard: str):
    """Right on the sums of 0 to 3, and on the others whatever is said."""
    return lambda a, b: f"answer {a + b}" if a < 4 else hard


def test_who_breaks_its_environment_on_hard_tasks_gains_nothing(watched) -> None:
    """Its parent fails at half of the tasks; what is left of the candidate's attempts are right, every one."""
    session = open_fragile(watched)
    watched.candidate(session, 0, says("what?"))
    assert evaluate(session.ref, 0)["pass@1"] == 0.5
    watched.candidate(session, 1, says("crash"))
    row = evaluate(session.ref, 1)
    assert (row["pass@1"], row["tasks"]) == (1.0, 4)  # of those that are known
    decided = promote(session.ref, 1)
    assert not decided["promoted"]
    assert decided["stopped_by"] == "outages broke 4 of 8 attempts on validation"
    assert iteration_row(session, 1)["broken"] == 4


def test_a_few_broken_attempts_neither_help_nor_harm(watched) -> None:
    """Both are compared on the tasks that both were judged on whole: 1 of 100 attempts broke."""
    session = open_fragile(watched, tasks={"train": 4, "validation": 100, "test": 1})
    watched.candidate(session, 0, says("what?"))
    evaluate(session.ref, 0)
    for iteration, hard, promoted in ((1, "answer", True), (2, "what?", False)):
        breaks(watched, [0])
        watched.candidate(session, iteration, says(hard))
        evaluate(session.ref, iteration)
        assert promote(session.ref, iteration)["promoted"] is promoted


def test_a_candidate_that_is_as_good_where_both_were_judged_is_no_worse(watched) -> None:
    session = open_fragile(watched, tasks={"train": 4, "validation": 100, "test": 1})
    breaks(watched, [50])  # one that the parent would have failed at
    watched.candidate(session, 0, says("what?"))
    assert evaluate(session.ref, 0)["pass@1"] == pytest.approx(4 / 99)
    breaks(watched, [])
    watched.candidate(session, 1, says("what?"))
    assert evaluate(session.ref, 1)["pass@1"] == 0.04
    assert promote(session.ref, 1)["promoted"]


def test_the_curriculum_is_not_drawn_to_what_breaks(watched) -> None:
    session = open_fragile(
        watched,
        tasks={"train": 8, "validation": 8, "test": 1},
        generate={"tasks": 4, "attempts": 4},
        curriculum={"strategy": "ucb", "explore": 0.0},
    )
    fragile = choose_tasks(session, 1)[0]
    breaks(watched, [int(fragile.prompt[0].content.split("+")[0])])
    session.sampler = lambda policy: ScriptedSampler(
        session.renderer, lambda prompt, seed: ("answer", "what?")[seed % 2]
    )
    generate(session.ref, 1)
    score(session.ref, 1)
    assert fragile.hash not in {task.hash for task in choose_tasks(session, 2)}
