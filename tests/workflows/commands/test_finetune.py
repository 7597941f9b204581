"""`journeyman finetune`: versions from what a finished run has stored, each once, with their lineage; and promoted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from journeyman.agent.data import ScoreRecord, Segment, Source, Split, Verdict
from journeyman.agent.errors import StoreError
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.storage.runs.policies import NewPolicy, Policies
from journeyman.storage.runs.runs import Runs
from journeyman.storage.schema.trajectories import SegmentRow, TokenBlob
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.labels import NewLabel
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.workflows.cli import main
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef, Session, lend
from journeyman.workflows.stages.evaluate import evaluate
from journeyman.workflows.stages.finetune import finetune
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.score import score
from journeyman.workflows.updates.imitation import successes
from journeyman.workflows.updates.material import Groups
from journeyman.workflows.updates.pairs import pairs_to_learn

SAYS = "watched_plugins:SaysAnswer"
QUICK = ("--set", "preference.learning_rate=1e-2", "--set", "preference.batch=4", "--set", "finetune.batch=8")


class Finished:
    """A run of one iteration at four sums, of whose four attempts each half say an answer; v2 was rejected."""

    def __init__(self, watched, capsys: pytest.CaptureFixture[str], *, finished: bool = True) -> None:
        self.capsys = capsys
        settings = watched.settings(
            tasks={"train": 4, "validation": 2, "test": 1},
            generate={"tasks": 4, "attempts": 4, "max_tokens": 12},
            relabel={"strategies": []},
            finetune={"batch": 8},
        )
        self.url = settings.store.url
        ref = start_run(settings)
        self.id = ref.run_id
        with lend(ref, Reporter(quiet=True)) as session:
            prepare(ref)
            session.store.runs.begin_iteration(ref.run_id, 0)
            path = f"{ref.run_id}/v0001"
            session.base_learner().save(session.artifacts / path, 1)
            session.store.policies.add(ref.run_id, NewPolicy(1, None, 0, "warm_start", path, {}, promoted=True))
            self._attempt(session)
            if finished:
                session.store.runs.finish(ref.run_id)

    def _attempt(self, session: Session) -> None:
        """By a script, in place of a sampler that takes its time."""
        session.sampler = lambda policy: ScriptedSampler(session.renderer, lambda prompt, seed: "hm")
        evaluate(session.ref, 0)
        asked: Counter[str] = Counter()

        def reply(prompt: str, seed: int) -> str:
            asked[prompt] += 1
            return ("answer 1", "hm", "so it is", "answer 2")[asked[prompt] % 4]

        session.sampler = lambda policy: ScriptedSampler(session.renderer, reply)
        generate(session.ref, 1)
        score(session.ref, 1)
        finetune(session.ref, 1)
        session.store.policies.set_promoted(self.id, 2, promoted=False)

    def __call__(self, *arguments: str, code: int = 0) -> dict:
        """The command's JSON, or its one line where the code is 2."""
        self.capsys.readouterr()
        assert main(["finetune", self.id, "--store", self.url, *arguments, "--json"]) == code
        found = self.capsys.readouterr()
        return json.loads(found.out) if code == 0 else {"error": found.err.splitlines()[-1]}

    def store(self) -> ReplayStore:
        return ReplayStore(self.url)

    def attempts(self, store: ReplayStore) -> list[StoredTrajectory]:
        return store.trajectories.of(self.id, source=Source.POLICY, split=Split.TRAIN)

    def used(self, store: ReplayStore, number: int) -> dict[str, tuple[float | None, float]]:
        """Advantages and NLL weights by what was said, of that version."""
        found = {}
        for stored in self.attempts(store):
            for version, use in store.trajectories.uses_of(stored.id):
                if version == number:
                    found[f"{stored.task.hash} {stored.trajectory.final_text}"] = (use.advantage, use.nll_weight)
        return found


@pytest.fixture
def run(watched, capsys: pytest.CaptureFixture[str]) -> Finished:
    return Finished(watched, capsys)


def test_preferences_make_a_version_once(run: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # killed when the weights are written and their row is not
        patched.setattr(Policies, "add", dies)
        run("--objective", "dpo", *QUICK, code=130)
    made = run("--objective", "dpo", "--set", "finetune.epochs=8", *QUICK)
    assert (made["policy"], made["kind"], made["parent"], made["promoted"]) == ("v3", "dpo", "v1", "undecided")
    stats = made["stats"]
    assert stats["told_by"] == {"reward": 8}  # of each task two of the four differ from the other two
    assert stats["margin"] == pytest.approx(stats["chosen_log_ratio"] - stats["rejected_log_ratio"], abs=1e-6)
    assert stats["margin"] > 0.1
    assert stats["overrides"] == ["finetune.epochs=8", *QUICK[1::2]]
    assert run("--objective", "dpo", "--set", "finetune.epochs=8", *QUICK) == made
    store = run.store()
    version = store.policies.numbered(run.id, 3)
    assert (version.iteration, version.parent_id) == (2, store.policies.numbered(run.id, 1).id)
    assert len(store.policies.of(run.id)) == 3
    used = run.used(store, 3)
    assert {(said.split()[1], use) for said, use in used.items()} == {
        ("answer", (1.0, 0.0)), ("hm", (-1.0, 0.0)), ("so", (-1.0, 0.0)),
    }  # fmt: skip
    assert store.upkeep.check() == []
    first, second, *_ = (s for s in run.attempts(store) if not s.trajectory.final_text.startswith("answer"))
    store.labels.add(NewLabel(first.id, second.id, 1.0, "ann"))
    store.close()
    labelled = run("--objective", "dpo", "--set", "preference.pairs=labels", *QUICK)
    assert (labelled["policy"], labelled["stats"]["told_by"]) == ("v4", {"label": 1})


def test_what_was_pruned_takes_no_places(run: Finished) -> None:
    store = run.store()
    first = run.attempts(store)[0].task.hash
    pruned = [stored.id for stored in run.attempts(store) if stored.task.hash != first]
    with store.database.write() as connection:
        connection.execute(delete(TokenBlob).where(TokenBlob.trajectory_id.in_(pruned)))
        connection.execute(update(SegmentRow).where(SegmentRow.trajectory_id.in_(pruned)).values(kept=False))
    with lend(RunRef(run.url, run.id), Reporter(quiet=True), ["preference.limit=2", "imitation.per_task=2"]) as session:
        assert [pair.better.task.hash for pair in pairs_to_learn(session, 2, 2)] == [first, first]
        assert [stored.task.hash for stored in successes(session)] == [first, first]
        both = {stored.id for stored in successes(session)}
        one = session.settings.imitation.model_copy(update={"per_task": 1})
        session.settings = session.settings.model_copy(update={"imitation": one})
        (newest,) = (stored.id for stored in successes(session))
        with store.database.write() as connection:
            connection.execute(delete(TokenBlob).where(TokenBlob.trajectory_id == newest))
        assert {stored.id for stored in successes(session)} == both - {newest} != both
    store.close()


def test_imitation_takes_all_successes_from_the_base_too(run: Finished) -> None:
    made = run("--objective", "bc", "--from", "base", *QUICK)
    assert (made["policy"], made["kind"], made["parent"]) == ("v3", "bc", "base")
    store = run.store()
    assert store.policies.numbered(run.id, 3).parent_id is None
    manifest = json.loads(
        Path(store.runs.find(run.id).settings["store"]["artifacts"], run.id, "v0003", "manifest.json").read_text()
    )
    assert manifest["parent"] is None
    used = run.used(store, 3)
    assert len(used) == 8
    assert {(said.split()[1], use) for said, use in used.items()} == {("answer", (None, 1.0))}
    store.close()
    fewer = run("--objective", "bc", "--set", "imitation.per_task=1", *QUICK)
    assert (fewer["policy"], fewer["parent"], fewer["stats"]["rows"]) == ("v4", "v1", 4.0)
    assert run("--objective", "bc", "--from", "base", *QUICK)["policy"] == "v3"  # made already


def test_stored_groups_are_compared_as_the_run_compares_its_own(run: Finished) -> None:
    made = run("--objective", "grpo", "--from", "v2", "--set", "finetune.bc_weight=0", *QUICK)
    assert (made["policy"], made["kind"], made["parent"]) == ("v3", "grpo", "v2")
    assert made["stats"]["groups_without_contrast"] == 0.0
    store = run.store()
    used = run.used(store, 3)
    store.close()
    assert len(used) == 16
    assert all((advantage > 0) == (" answer" in said) for said, (advantage, _) in used.items())
    assert {nll for _, nll in used.values()} == {0.0}


def test_rewards_that_were_given_again_make_another_version(run: Finished) -> None:
    command = ("--objective", "grpo", "--set", "finetune.bc_weight=0", *QUICK)
    assert run(*command)["policy"] == run(*command)["policy"] == "v3"
    store = run.store()
    first, *_ = (stored for stored in run.attempts(store) if stored.trajectory.final_text.startswith("answer"))
    (verifier,) = first.verdicts
    store.verdicts.add([(first.id, ScoreRecord(verifier, Verdict.passed(False), 0.0))])
    store.close()
    assert run(*command)["policy"] == run(*command)["policy"] == "v4"  # the same groups, of which one has one success


def test_one_killed_when_its_version_was_stored_is_over_the_next_time(
    run: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_: Runs, run_id: str, number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "finish_iteration", dies)
        run("--objective", "dpo", *QUICK, code=130)
    assert run("--objective", "bc", *QUICK)["policy"] == "v4"
    store = run.store()
    assert {2, 3} <= set(store.runs.iteration_seconds(run.id))
    store.close()
    assert run("--objective", "dpo", *QUICK)["policy"] == "v3"


@pytest.mark.parametrize("what", ["material", "rows"])
def test_ranks_that_have_different_things_to_learn_from_say_so(
    run: Finished, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    compared: list[str] = []

    def merged(self: Ranks, found: dict) -> dict:
        """As if there were another rank, which has read something else."""
        if self.rank in found and isinstance(found[self.rank], str):
            compared.append(("material", "rows")[len(compared)])
            return found | {1: found[0] if compared[-1] != what else "else"}
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Ranks, "merged", merged)
        error = run("--objective", "bc", *QUICK, code=2)["error"]
    assert f"rank 1 has other {what} to learn from than rank 0" in error
    assert run("--objective", "bc", *QUICK)["policy"] == "v3"


@pytest.mark.slow
def test_two_processes_make_the_same_version(run: Finished) -> None:
    two = run("--objective", "dpo", "--set", "learner.processes=2", *QUICK)
    one = run("--objective", "dpo", "--set", "finetune.batch=9", *QUICK[:4])  # of rows, which preferences have none of
    assert (two["policy"], one["policy"]) == ("v3", "v4")
    for name in ("steps", "pairs", "loss", "margin", "chosen_nll", "grad_norm"):
        assert two["stats"][name] == pytest.approx(one["stats"][name], rel=1e-4, abs=1e-5)


def test_it_is_evaluated_and_promoted_and_gone_on_from(run: Finished) -> None:
    command = ("--objective", "dpo", "--promote", *QUICK)
    made = run(*command)
    assert (made["policy"], made["promoted"], made["validation pass@1"]) == ("v3", "yes", 0.0)  # as good as its parent
    assert run(*command) == made
    assert main(["finetune", run.id, "--store", run.url, *command]) == 0
    assert {"v3", "dpo", "v1", "yes"} <= set(run.capsys.readouterr().out.split())
    store = run.store()
    assert len(store.policies.of(run.id)) == 3
    assert store.policies.newest_promoted(run.id).number == 3
    assert {(e.policy_number, e.iteration) for e in store.evaluations.of(run.id)} == {(1, 0), (3, 2)}
    assert {i.policy_number for i in store.evaluations.audits(run.id)} == {3}
    assert store.upkeep.check() == []
    store.close()
    further = run("--objective", "dpo", "--from", "v3", *QUICK)
    assert (further["policy"], further["parent"]) == ("v4", "v3")


def test_an_imported_run_is_learned_from(run: Finished, tmp_path: Path) -> None:
    store, settings = f"--store={run.url}", tmp_path / "settings.toml"
    settings.write_text(
        f"""
        environment.name = "watched_plugins:Sums"
        model = {{ hidden = 32, layers = 1 }}
        sampler.kind = "transformers"
        store = {{ url = "{run.url}", artifacts = "{tmp_path}/more" }}
        run.engine = "none"
        """
    )
    assert main(["export", run.id, str(tmp_path / "all.jsonl"), store]) == 0
    assert main(["import", str(tmp_path / "all.jsonl"), "--run", "copy", "--settings", str(settings), store]) == 0
    run.id = "copy"
    error = run("--objective", "bc", *QUICK, code=2)["error"]
    assert "has no policy" in error
    made = run("--objective", "dpo", "--from", "base", *QUICK)
    assert (made["policy"], made["parent"], made["promoted"]) == ("v3", "base", "yes")
    assert run("--objective", "bc", *QUICK)["parent"] == "v3"
    assert "has no validation tasks" in run("--objective", "bc", *QUICK, "--promote", code=2)["error"]


def test_what_cannot_be_is_said_in_a_line(run: Finished) -> None:
    for objective, more, says in (
        ("dpo", ("--set", "preference.pairs=labels"), "no pairs of a better and a worse attempt"),
        ("dpo", ("--set", "preference.margin=1.0"), "no pairs of a better and a worse attempt"),
        ("bc", ("--set", 'imitation.sources=["hindsight"]'), "no verified success"),
        ("grpo", ("--set", "replay.groups=0"), "replay.groups = 0"),
        ("dpo", ("--set", "run.seed=1"), "no setting of an update"),
        ("dpo", ("--set", "preference.bet=1"), "unknown setting 'preference.bet'"),
        ("dpo", ("--from", "best"), "neither `base` nor a version"),
        ("dpo", ("--from", "v9"), "v9"),
        ("grpo", ("--set", "finetune.step_verifier=nope"), "'nope' is not in the rubric"),
        ("grpo", ("--set", f"finetune.step_verifier={SAYS}"), "scores no steps"),
        ("grpo", ("--set", "estimator.name=gae"), "needs a critic"),
        ("grpo", ("--set", "optimizer.kind=trust_region", "--set", "finetune.loss=sapo"), "is not ratio x advantage"),
        ("grpo", ("--set", "optimizer.kind=trust_region", "--set", "learner.processes=2"), "is made by one"),
    ):
        assert says in run("--objective", objective, *more, code=2)["error"]
    store = run.store()
    assert len(store.policies.of(run.id)) == 2
    with pytest.raises(StoreError, match=r"iteration 2 .* has not begun"):
        store.runs.chosen_tasks(run.id, 2)
    with lend(RunRef(run.url, run.id), Reporter(quiet=True)) as session:
        blind = [
            replace(stored, trajectory=replace(stored.trajectory, segments=tuple(map(without_logprobs, segments))))
            for stored in run.attempts(store)
            for segments in (stored.trajectory.segments,)
        ]
        assert "held by another process" in run("--objective", "bc", code=2)["error"]
        assert "has the log-probs of the policy that made it" in (Groups(blind, []).missing(session) or "")
    store.close()


def without_logprobs(segment: Segment) -> Segment:
    return replace(segment, behaviour_logprobs=None)


def test_a_run_that_is_not_finished_takes_the_number_itself(watched, capsys: pytest.CaptureFixture[str]) -> None:
    run = Finished(watched, capsys, finished=False)
    assert "is not finished, and its next iteration makes the next version" in run("--objective", "bc", code=2)["error"]
    run.id = "nobody"
    assert "nobody" in run("--objective", "bc", code=2)["error"]
