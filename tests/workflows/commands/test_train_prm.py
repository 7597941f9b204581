"""Labels of steps by completions, and a process reward model trained from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.rendering import choices_of
from journeyman.agent.data import Source, Split, Status
from journeyman.agent.environments.countdown_steps import next_steps, numbers_left
from journeyman.agent.errors import UsageError
from journeyman.agent.rollout import Attempt, run_rollout
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.models.prm.process_reward import ProcessReward
from journeyman.workflows.commands.heads.step_labels import LabelPlan, label_steps, step_starts
from journeyman.workflows.commands.heads.train_prm import PrmOptions, choose_attempts, make_prm, part_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef, Session, lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.score import score


def step_on(prompt: str, seed: int) -> str:
    """Steps at random by the rules, from where the prompt ends to one number; begins with what the seed says."""
    question, _, said = prompt.removeprefix("<|bos|><|user|>").partition("<|end|><|assistant|>")
    left = tuple(sorted(map(int, question.split(" from ")[1].split(", ")), reverse=True))
    if said:
        left = numbers_left(left, said)[-1]
    lines = []
    while len(left) > 1:
        steps = list(next_steps(left))
        line, left = steps[seed % len(steps)]
        lines.append(line)
    return "\n".join(lines)


def move(prompt: str, seed: int) -> str:
    return f'<tool_call>move("{("up", "down", "left", "right")[seed % 4]}")</tool_call>'


def begin(folder: Path, environment: dict, tasks: int, reply) -> RunRef:
    """A run with four scored attempts at each training task, in iteration 1, made by `reply`."""
    settings = parse_settings(
        {
            "run": {"name": "steps", "seed": 3, "iterations": 1, "engine": "none", "output": str(folder)},
            "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
            "environment": environment,
            "tasks": {"train": tasks, "validation": 1, "test": 1},
            "model": {"hidden": 32, "layers": 1},
            "sampler": {"kind": "transformers", "max_context": 256},
        },
        "the test",
    )
    ref = start_run(settings)
    with lend(ref, Reporter(quiet=True)) as session:
        prepare(ref)
        session.store.runs.begin_iteration(ref.run_id, 1)
        session.store.policies.add(ref.run_id, NewPolicy(1, None, 0, "base", session.base_model, {}, promoted=True))
        policy = session.store.policies.numbered(ref.run_id, 1)
        chosen = session.store.tasks.of(ref.run_id, Split.TRAIN)
        attempts = [Attempt(task, n, keyed_seed("test", task.hash, n)) for task in chosen for n in range(4)]
        sampler = ScriptedSampler(session.renderer, reply)
        made = run_rollout(attempts, session.open_environment, sampler, session.renderer, session.limits(1.0))
        rows = [NewTrajectory(f"policy/1/{t.task_hash}/v1", t, 1, policy.id) for t in made]
        session.store.trajectories.add(ref.run_id, rows)
        score(ref, 1)
    return ref


@pytest.fixture(scope="module")
def countdown(tmp_path_factory) -> RunRef:
    environment = {"name": "countdown_steps", "max_value": 6, "max_target": 20}
    return begin(tmp_path_factory.mktemp("countdown"), environment, 24, step_on)


@pytest.fixture(scope="module")
def gridworld(tmp_path_factory) -> RunRef:
    environment = {"name": "gridworld", "size": 4, "holes": 0.0, "min_distance": 3, "max_turns": 4}
    return begin(tmp_path_factory.mktemp("gridworld"), environment, 2, move)


def scripted(session: Session, monkeypatch, reply=step_on) -> ScriptedSampler:
    sampler = ScriptedSampler(session.renderer, reply)
    monkeypatch.setattr(session, "sampler", lambda policy: sampler)
    return sampler


def attempts_of(session: Session) -> list[StoredTrajectory]:
    return session.store.trajectories.of(session.run.id, source=Source.POLICY)


def plan_of(session: Session, completions: int = 4) -> LabelPlan:
    return LabelPlan(session.run.id, 1, completions, "newline")


def succeeds(task, text: str) -> bool:
    return numbers_left(task.payload["numbers"], text)[-1] == (task.goal,)


def test_a_label_is_the_share_of_completions_that_succeed(countdown, monkeypatch, tmp_path) -> None:
    with lend(countdown, Reporter(quiet=True)) as session:
        outcomes: dict[str, list[str]] = {}

        def reply(prompt: str, seed: int) -> str:
            outcomes.setdefault(prompt, []).append(step_on(prompt, seed))
            return outcomes[prompt][-1]

        scripted(session, monkeypatch, reply)
        policy, stored = session.store.policies.numbered(session.run.id, 1), attempts_of(session)
        labels = label_steps(session, policy, stored, plan_of(session), tmp_path / "labels.jsonl")
        for one in stored:
            first, _, second = one.trajectory.final_text.partition("\n")
            prompt = session.renderer.conversation(one.task.prompt) + first + "\n"
            share = sum(succeeds(one.task, f"{first}\n{text}") for text in outcomes[prompt]) / 4
            assert labels[one.id] == (share, float(succeeds(one.task, one.trajectory.final_text)))
            assert second
        assert {len(texts) for texts in outcomes.values()} == {4}  # equal beginnings are gone on from once
        assert len({label for pair in labels.values() for label in pair}) > 2


def test_labels_of_a_killed_job_are_gone_on_from(countdown, monkeypatch, tmp_path) -> None:
    with lend(countdown, Reporter(quiet=True)) as session:
        sampler = scripted(session, monkeypatch)
        policy, stored, file = (
            session.store.policies.numbered(session.run.id, 1),
            attempts_of(session),
            tmp_path / "labels.jsonl",
        )
        whole = label_steps(session, policy, stored, plan_of(session), file)
        text = file.read_text()
        lines = text.splitlines(keepends=True)
        file.write_text("".join(lines[:31]) + lines[31][:20])
        sampler.prompts.clear()
        assert label_steps(session, policy, stored, plan_of(session), file) == whole
        assert sorted(file.read_text().splitlines()) == sorted(text.splitlines())
        assert 0 < len(sampler.prompts) <= 4 * (len(stored) - 30)
        with pytest.raises(UsageError, match=r'"completions": 4.*delete it, or name another --output'):
            label_steps(session, policy, stored, plan_of(session, completions=5), file)


def test_steps_that_are_turns_begin_the_turns_after_them(gridworld) -> None:
    with lend(gridworld, Reporter(quiet=True)) as session:
        longest = max(attempts_of(session), key=lambda s: len(s.trajectory.turns))
        said = [choice.ids for choice in choices_of(longest.trajectory)]
        assert len(said) == 4
        assert step_starts(session, longest, "turn") == [(*said[: n + 1], ()) for n in range(3)]


def test_lines_end_where_their_break_does(countdown) -> None:
    with lend(countdown, Reporter(quiet=True)) as session:
        for stored in attempts_of(session)[:8]:
            first, _, _ = stored.trajectory.final_text.partition("\n")
            assert step_starts(session, stored, "newline") == [(session.renderer.encode(first + "\n"),)]


def test_tasks_are_held_out_by_their_hash() -> None:
    hashes = [f"{n:032x}" for n in range(0, 16**32, 16**32 // 1000)]
    parts = Counter(part_of(task_hash, 0.2) for task_hash in hashes)
    assert [round(parts[part] / 10) for part in ("train", "stop", "score")] == [80, 10, 10]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"completions": 0}, "must be at least 1"), ({"held_out": 1.0}, "not between 0 and 1")],
)
def test_options_that_cannot_be(options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PrmOptions(**options)


def test_distinct_attempts_are_drawn(countdown) -> None:
    with lend(countdown, Reporter(quiet=True)) as session:
        distinct = {(s.task.hash, s.trajectory.final_text) for s in attempts_of(session)}
        assert len(distinct) < len(attempts_of(session))
        every = choose_attempts(session, PrmOptions())
        assert {(s.task.hash, s.trajectory.final_text) for s in every} == distinct
        assert len(every) == len(distinct)
        some = choose_attempts(session, PrmOptions(attempts=10))
        assert len(some) == 10
        assert {s.id for s in some} < {s.id for s in every}


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_the_model_is_scored_with_as_it_was_trained(countdown, monkeypatch, tmp_path, lora_rank: int) -> None:
    output = tmp_path / "prm"
    with lend(countdown, Reporter(quiet=True)) as session:
        scripted(session, monkeypatch)
        options = PrmOptions(completions=2, held_out=0.5, epochs=1, lora_rank=lora_rank)
        report = make_prm(session, session.store.policies.numbered(session.run.id, 1), options, output)
        held_out = [s for s in choose_attempts(session, options) if part_of(s.task.hash, 0.5) == "score"]
        verdicts = ProcessReward(str(output), dtype="float32").verify_all([(s.task, s.trajectory) for s in held_out])
        labels = labels_of(tmp_path / "prm.labels.jsonl")
        right = [
            (step >= 0.5) == (label > 0)
            for s, v in zip(held_out, verdicts, strict=True)
            for step, label in zip(v.step_scores, labels[s.id], strict=True)
        ]
        assert {v.status for v in verdicts} == {Status.OK}
        assert (report["steps"], report["accuracy"]) == (len(right), pytest.approx(sum(right) / len(right)))
    fields = json.loads((output / "journeyman_prm.json").read_text())
    assert fields == {
        "family": "token_classification",
        "separator": "\n",
        "split": "newline",
        "after_problem": "<|end|><|assistant|>",
    }
    assert not list(output.glob("adapter*"))


def labels_of(file: Path) -> dict[str, Sequence[float]]:
    return {row["trajectory"]: row["labels"] for row in map(json.loads, file.read_text().splitlines()[1:])}


def test_too_few_attempts_are_told(countdown, monkeypatch, tmp_path) -> None:
    with lend(countdown, Reporter(quiet=True)) as session:
        scripted(session, monkeypatch)
        options = PrmOptions(attempts=1, completions=1, held_out=1e-6)
        with pytest.raises(UsageError, match=r"too few attempts \(1 to train, 0 to stop, 0 to score\)"):
            make_prm(session, session.store.policies.numbered(session.run.id, 1), options, tmp_path / "prm")
