"""Attempts revised by principles: what is asked, what is stored, and which pairs other trainers are given."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.token_shapes import neutralised
from journeyman.agent.data import Source, Split
from journeyman.agent.rollout import Attempt, run_rollout
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.runs.policies import NewPolicy
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.score import score

COUNTDOWN = {"name": "countdown"}
GRIDWORLD = {"name": "gridworld", "size": 3, "min_distance": 2, "max_turns": 2}
PRINCIPLES = "# what we hold to\nReach the target.\n\n  Use every number.\n"


class Run:
    """A run of 6 training tasks and 2 to validate, with one scored attempt each that says `said`."""

    def __init__(self, folder: Path, environment: dict[str, Any], *said: str, finished: bool = True, **more: Any):
        self.folder, self.url = folder, f"sqlite:///{folder}/store.db"
        self.principles = folder / "principles.txt"
        self.principles.write_text(PRINCIPLES)
        settings = parse_settings(
            {
                "run": {"name": "revised", "seed": 3, "iterations": 1, "engine": "none", "output": str(folder)},
                "store": {"url": self.url, "artifacts": str(folder / "artifacts")},
                "environment": environment,
                "tasks": {"train": 6, "validation": 2, "test": 0},
                "model": {"hidden": 32, "layers": 1},
                "sampler": {"kind": "transformers"},
                **more,
            },
            "the test",
        )
        self.ref = start_run(settings)
        with lend(self.ref, Reporter(quiet=True)) as session:
            prepare(self.ref)
            session.store.runs.begin_iteration(self.ref.run_id, 1)
            session.store.policies.add(self.ref.run_id, NewPolicy(1, None, 0, "warm_start", "none", {}, promoted=True))
            tasks = [
                t for split in (Split.TRAIN, Split.VALIDATION) for t in session.store.tasks.of(self.ref.run_id, split)
            ]
            self.solutions = {t.prompt[-1].content: session.task_set.demonstrate(t)[0].content for t in tasks}
            for task in tasks:
                sampler = ScriptedSampler(session.renderer, list(said))
                attempt = Attempt(task, 0, keyed_seed("test", task.hash))
                made = run_rollout([attempt], session.open_environment, sampler, session.renderer, session.limits(1.0))
                policy = session.store.policies.numbered(self.ref.run_id, 1)
                rows = [NewTrajectory(f"policy/1/{t.task_hash}/v1", t, 1, policy.id) for t in made]
                session.store.trajectories.add(self.ref.run_id, rows)
            score(self.ref, 1)
            if finished:
                session.store.runs.finish(self.ref.run_id)

    def revise(self, *arguments: str, code: int = 0) -> None:
        given = ["revise", "revised", "--principles", str(self.principles), "--store", self.url, "--json", *arguments]
        assert main(given) == code

    def export(self, what: str) -> list[Any]:
        file = self.folder / f"{what}.jsonl"
        file.unlink(missing_ok=True)
        assert main(["export", "revised", str(file), "--what", what, "--store", self.url]) == 0
        return [json.loads(line) for line in file.read_text().splitlines()]


def constitutional(revise: Any, prefer: str) -> Any:
    """A judge that criticises, says `revise(prompt)` as revision, and prefers what says `prefer`."""

    def answer(body: dict[str, Any], number: int) -> str:
        prompt = body["messages"][-1]["content"]
        if "Criticise" in prompt:
            return f"It does not: {prompt.splitlines()[-1]}\n"
        if ends := re.search(r"^<<<MESSAGE \w+>>>\n<<<END MESSAGE \w+>>>$", prompt, re.MULTILINE):
            head, end = ends[0].splitlines()
            return f"Gladly.\n{head}\n{revise(prompt)}\n{end}"
        nonce = re.search(r"^VERDICT (\w+): X$", prompt, re.MULTILINE)[1]
        a, b = (prefer in re.search(rf"<<<ATTEMPT {x} .*?<<<END", prompt, re.DOTALL)[0] for x in "AB")
        return f"VERDICT {nonce}: {'TIE' if a == b else 'A' if a else 'B'}"

    return answer


@pytest.fixture
def judged(chat_server: Any) -> list[str]:
    return ["--judge-url", chat_server.url, "--model", "fake"]


def test_revisions_are_stored_beside_their_parents_and_preferred(tmp_path, chat_server, judged, capsys) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.")
    chat_server.answer = constitutional(
        lambda prompt: next(s for task, s in run.solutions.items() if f"\n{task}\n" in prompt), prefer="+"
    )
    plus = sum("+" in s for task, s in run.solutions.items())
    run.revise(*judged)
    report = json.loads(capsys.readouterr().out)
    assert (report["attempts"], report["solved_before"], report["solved"], report["worse"]) == (6, 0, 6, 0)
    assert report["better"] + report["tied"] == 6
    assert report["better"] <= plus
    store = ReplayStore(run.url)
    attempts = {t.id: t for t in store.trajectories.of(run.ref.run_id, source=Source.POLICY, split=Split.TRAIN)}
    revisions = store.trajectories.of(run.ref.run_id, source=Source.EXPERT)
    assert {r.parent_id for r in revisions} == set(attempts)
    labels = {label.trajectory_id: label for label in store.labels.of(run.ref.run_id)}
    for revision in revisions:
        parent, label = attempts[revision.parent_id], labels[revision.id]
        text = run.solutions[parent.task.prompt[-1].content]
        assert revision.trajectory.final_text == text
        assert (revision.relabeller, revision.group) == ("constitution/2", f"revision/{parent.key}")
        assert (revision.task, revision.policy_id, revision.iteration) == (parent.task, None, 1)
        assert [v.score for v in revision.verdicts.values()] == [1]
        (segment,) = revision.trajectory.segments
        assert segment.behaviour_logprobs is None
        assert segment.loss_mask.all()
        assert (label.other_id, label.value, label.person) == (parent.id, 1.0 if "+" in text else 0.5, "judge fake")
        assert re.fullmatch(r"(Reach the target\.|Use every number\.) It does not: \1", label.comment)
    assert len({label.comment for label in labels.values()}) == 2  # both principles were drawn
    assert store.upkeep.check() == []
    store.close()
    pairs = run.export("preferences")
    assert len(pairs) == report["better"]
    for pair in pairs:
        assert pair["chosen"] == [{"role": "assistant", "content": run.solutions[pair["prompt"][-1]["content"]]}]
        assert pair["rejected"] == [{"role": "assistant", "content": "I give up."}]


def test_what_was_revised_is_not_revised_again_and_the_draw_is_keyed(tmp_path, chat_server, judged, capsys) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.")
    chat_server.answer = constitutional(lambda _: "Wait.", prefer="give")
    run.revise(*judged, "--limit", "4")
    assert json.loads(capsys.readouterr().out) == {
        "attempts": 4, "better": 0, "tied": 0, "worse": 4, "solved": 0, "solved_before": 0
    }  # fmt: skip
    asked = sorted(json.dumps(body) for body in chat_server.bodies)
    assert len(asked) == 4 * (1 + 1 + 2)
    run.revise(*judged)
    assert json.loads(capsys.readouterr().out)["attempts"] == 2
    run.revise(*judged)
    assert json.loads(capsys.readouterr().out)["attempts"] == 0
    pairs = run.export("preferences")  # a revision that is worse is the rejected one
    assert [pair["rejected"][0]["content"] for pair in pairs] == ["Wait."] * 6
    (tmp_path / "again").mkdir()
    again = Run(tmp_path / "again", COUNTDOWN, "I give up.")
    chat_server.bodies.clear()
    again.revise(*judged, "--limit", "4")
    assert sorted(json.dumps(body) for body in chat_server.bodies) == asked


def test_what_ends_between_a_revision_and_its_preference_loses_neither(tmp_path, chat_server, judged, capsys) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.")
    chat_server.answer = constitutional(lambda _: "Wait.", prefer="Wait")
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.execute("CREATE TRIGGER end BEFORE INSERT ON label BEGIN SELECT RAISE(ABORT, 'killed'); END")
    run.revise(*judged, code=2)
    assert "killed" in capsys.readouterr().err
    with sqlite3.connect(tmp_path / "store.db") as database:
        assert database.execute("SELECT count(*) FROM trajectory WHERE relabeller IS NOT NULL").fetchone() == (0,)
        database.execute("DROP TRIGGER end")
    run.revise(*judged)
    assert json.loads(capsys.readouterr().out)["better"] == 6
    assert [pair["chosen"][0]["content"] for pair in run.export("preferences")] == ["Wait."] * 6


@pytest.mark.parametrize("revision", ["I give up.", "", "x" * 2000])
def test_what_is_no_revision_is_left_out(tmp_path, chat_server, judged, capsys, revision) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.")
    chat_server.answer = constitutional(lambda _: revision, prefer="x")
    run.revise(*judged, "--limit", "2")
    report = json.loads(capsys.readouterr().out)
    assert (report["attempts"], report["better"] + report["tied"] + report["worse"]) == (2, 0)
    store = ReplayStore(run.url)
    assert store.trajectories.of(run.ref.run_id, source=Source.EXPERT) == []
    store.close()


def test_the_judge_cannot_write_control_tokens(tmp_path, chat_server, judged) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.")
    chat_server.answer = constitutional(lambda _: "1<|end|><|user|>2", prefer="x")
    run.revise(*judged, "--limit", "1")
    store = ReplayStore(run.url)
    (revision,) = store.trajectories.of(run.ref.run_id, source=Source.EXPERT)
    store.close()
    assert revision.trajectory.final_text == "1<|end| ><|user| >2"


def test_of_many_turns_the_last_is_revised_and_acted_out(tmp_path, chat_server, judged) -> None:
    up, down = (f'<tool_call>move("{way}")</tool_call>' for way in ("up", "down"))
    run = Run(tmp_path, GRIDWORLD, up, "I stay.")
    chat_server.answer = constitutional(lambda _: neutralised(down), prefer="down")  # in the brackets that it is shown
    run.revise(*judged)
    store = ReplayStore(run.url)
    attempts = {t.id: t.trajectory for t in store.trajectories.of(run.ref.run_id, source=Source.POLICY)}
    revisions = store.trajectories.of(run.ref.run_id, source=Source.EXPERT)
    assert revisions
    assert store.upkeep.check() == []
    store.close()
    for revision in revisions:
        parent, told = attempts[revision.parent_id], revision.trajectory
        assert told.turns[0] == parent.turns[0]
        assert [t.action.content for t in told.turns] == [up, down]
        assert told.turns[1].observation != parent.turns[1].observation
        ((segment,), (sampled,)) = told.segments, parent.segments
        kept = len(sampled.completion_ids) - len("I stay.") - 1
        assert segment.completion_ids[:kept].tolist() == sampled.completion_ids[:kept].tolist()
        assert not segment.loss_mask[:kept].any()
        assert segment.loss_mask[kept:].all()


def test_the_judge_of_the_settings_is_taken(tmp_path, chat_server, capsys) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.", verifiers={"judge": {"url": chat_server.url, "model": "fake"}})
    chat_server.answer = constitutional(lambda _: "Wait.", prefer="Wait")
    run.revise("--limit", "1")
    assert json.loads(capsys.readouterr().out)["better"] == 1


def test_mistakes_are_named(tmp_path, chat_server, judged, capsys) -> None:
    run = Run(tmp_path, COUNTDOWN, "I give up.", finished=False)
    run.revise(*judged, code=2)
    assert "is not finished: `journeyman resume` it first" in capsys.readouterr().err
    store = ReplayStore(run.url)
    store.runs.finish(run.ref.run_id)
    store.close()
    run.revise(code=2)
    assert "the judge's url and model is not known" in capsys.readouterr().err
    run.revise(*judged, "--limit", "0", code=2)
    assert "--limit 0 leaves nothing to revise" in capsys.readouterr().err
    chat_server.answer = lambda body, number: (400, "out of words", {})
    run.revise(*judged, code=2)
    assert "out of words" in capsys.readouterr().err
    run.principles.write_text("# none\n")
    run.revise(*judged, code=2)
    assert "holds no principles: write one a line" in capsys.readouterr().err
    run.principles.write_bytes(b"na\xefve\n")
    run.revise(*judged, code=2)
    assert "principles.txt: not UTF-8 text" in capsys.readouterr().err
    run.principles.unlink()
    run.revise(*judged, code=2)
    assert "there is no file of principles" in capsys.readouterr().err
