"""`journeyman revise`: attempts criticised by a principle and revised, both kept as a pair for preferences.

The constitutional form of Bai et al. 2022 (arXiv:2212.08073, section 3.1): a critique by a drawn principle, then a
revision. There every revision counts as the better one; here the judge compares the two by all principles, in both
orders, so that a revision that is none is no preference.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from journeyman.agent.chance import keyed_rng
from journeyman.agent.chat.control_tokens import plain
from journeyman.agent.chat.rendering import choices_of
from journeyman.agent.chat.token_shapes import restored, visible
from journeyman.agent.data import Json, Message, Source, Split, StopReason, Trajectory
from journeyman.agent.errors import DataError, SamplerError, SettingsError, UsageError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.storage.store import ReplayStore
from journeyman.storage.trajectories.rows import NewTrajectory
from journeyman.storage.trajectories.trajectories import StoredTrajectory
from journeyman.verifiers.judges.judge import Judge
from journeyman.verifiers.judges.prompts import Asked
from journeyman.verifiers.judges.revision_prompts import critique_of, revision_of
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.session import RunRef, Session, lend
from journeyman.workflows.terminal import say, say_json

REVISER = "constitution/2"
"""What stands as `relabeller` of a revision, with the version of its making."""

_PAGE = 64  # attempts whose critiques, then revisions, then comparisons are asked for together


@dataclass(frozen=True, slots=True, eq=False)
class _Revision:
    """An attempt revised, and why."""

    parent: StoredTrajectory
    trajectory: Trajectory
    comment: str
    """The principle and the critique."""


def revise(options: argparse.Namespace) -> None:
    """`journeyman revise RUN --principles FILE`: revisions of training attempts that have none yet, with preferences.

    The judge is that of the run's `[verifiers.judge]`, `--judge-url` and `--model` going first. Raises UsageError for
    a run that is not finished: the stages to come would take revisions for demonstrations of their own.
    """
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit} leaves nothing to revise")
    principles = read_principles(Path(options.principles))
    store = ReplayStore(options.store, must_exist=True)
    try:
        run = store.runs.find(options.run)
    finally:
        store.close()
    if not run.finished:
        raise UsageError(f"run {run.id} ({run.name}) is not finished: `journeyman resume` it first")
    with lend(RunRef(options.store, run.id), Reporter()) as session:
        judge = _judge(session.settings.verifiers, {"url": options.judge_url, "model": options.model})
        report = revise_attempts(session, judge, principles, options.limit)
    if options.json:
        say_json(report)
    else:
        say(_sentence(report))


def read_principles(file: Path) -> list[str]:
    """The principles of a text file, one a line; empty lines and those that begin with `#` are none.

    Raises DataError where there are none.
    """
    if not file.is_file():
        raise DataError(f"there is no file of principles {file}")
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise DataError(f"{file} holds no principles: write one a line")
    return found


def revise_attempts(session: Session, judge: Judge, principles: Sequence[str], limit: int | None) -> dict[str, Json]:
    """Stores revisions and preferences for at most `limit` attempts in a drawn order; how it went, by count.

    `solved` are the revisions that the run's own rubric passes, `solved_before` the attempts that it passed. Raises
    UsageError or SamplerError where the judge cannot be asked at all.
    """
    waiting = _waiting(session)
    order = keyed_rng(session.settings.run.seed, "constitution", session.run.ordinal).permutation(len(waiting))
    chosen = [waiting[i] for i in order][:limit]
    counts = Counter(dict.fromkeys(("attempts", "better", "tied", "worse", "solved", "solved_before"), 0))
    with session.reporter.progress("revise", len(chosen)) as advance:
        for first in range(0, len(chosen), _PAGE):
            page = session.store.trajectories.by_id(chosen[first : first + _PAGE])
            counts.update(_keep(session, judge, principles, list(_revised(session, judge, principles, page))))
            counts["attempts"] += len(page)
            advance(len(page))
    return dict(counts)


def _judge(verifiers: Mapping[str, Mapping[str, Json]], given: Mapping[str, Json]) -> Judge:
    settings = {**verifiers.get("judge", {}), **{name: value for name, value in given.items() if value is not None}}
    if missing := [name for name in given if name not in settings]:
        raise SettingsError(
            f"the judge's {' and '.join(missing)} is not known: give --judge-url and --model, or set [verifiers.judge]"
        )
    judge: Judge = load_plugin(VERIFIERS, "judge", settings)
    return judge


def _waiting(session: Session) -> list[str]:
    """Ids of the policy's training attempts that ended in words of its own, and were not revised yet."""
    store, run_id = session.store, session.run.id
    attempts = store.trajectories.of(run_id, source=Source.POLICY, split=Split.TRAIN, tokens=False)
    done = store.trajectories.ids_of(run_id, {(_group(stored), 0) for stored in attempts})
    return [t.id for t in attempts if (_group(t), 0) not in done and _ends_in_words(t.trajectory)]


def _ends_in_words(trajectory: Trajectory) -> bool:
    """Whether there is a last message to write anew; a tool call in it has had its effect."""
    failed = trajectory.stop_reason is StopReason.ERROR
    return bool(trajectory.final_text.strip()) and not (failed or trajectory.turns[-1].action.tool_calls)


def _group(parent: StoredTrajectory) -> str:
    return f"revision/{parent.key}"


def _revised(
    session: Session, judge: Judge, principles: Sequence[str], parents: Sequence[StoredTrajectory]
) -> Iterator[_Revision]:
    """The revisions that say something new and could be acted out; each by a principle drawn for it."""
    seed, asked = session.settings.run.seed, judge.seed
    drawn = [principles[int(keyed_rng(seed, "principle", p.key).integers(len(principles)))] for p in parents]
    given = zip(parents, drawn, strict=True)
    critiques = _heard(judge, [critique_of(p.task, p.trajectory, principle, asked) for p, principle in given])
    found = [(p, principle, c) for p, principle, c in zip(parents, drawn, critiques, strict=True) if c is not None]
    texts = _heard(judge, [revision_of(p.task, p.trajectory, critique, asked) for p, _, critique in found])
    for (parent, principle, critique), text in zip(found, texts, strict=True):
        revised = None if text is None else _acted_out(session, parent, text)
        if revised is not None:
            yield _Revision(parent, revised, f"{principle} {critique}")


def _heard(judge: Judge, questions: Sequence[Asked[str]]) -> list[str | None]:
    """What the judge said, None where nothing could be had; raises SamplerError where that is so of all."""
    heard = judge.ask_all(questions)
    errors = [answer for answer in heard if isinstance(answer, SamplerError)]
    if errors and len(errors) == len(heard):
        raise errors[0]
    return [answer if isinstance(answer, str) else None for answer in heard]


def _acted_out(session: Session, parent: StoredTrajectory, text: str) -> Trajectory | None:
    """The attempt with another last message; None where it is the same, or longer than the policy could have made it.

    The turns before are the policy's own, token by token, and not trained on; None where their tokens were pruned.
    """
    # the judge writes the brackets that it was shown, and may not write control tokens of the policy's template
    said = plain(restored(visible(text)), session.renderer.tokenizer)
    turns = len(parent.trajectory.turns)
    if said == parent.trajectory.final_text.strip() or (turns > 1 and not parent.trajectory.segments):
        return None
    context = [choice.ids for choice in choices_of(parent.trajectory)[:-1]] if turns > 1 else []
    revised = session.replay(parent.task, [Message("assistant", said)], context)
    lengths = [len(s.prompt_ids) + len(s.completion_ids) for s in revised.segments]
    fits = bool(lengths) and max(lengths) <= session.settings.sampler.max_context
    return revised if fits and len(revised.turns) == turns else None


def _keep(session: Session, judge: Judge, principles: Sequence[str], revisions: Sequence[_Revision]) -> Counter[str]:
    """Stores each revision with its verdicts, and the preference between it and its parent."""
    by_all = replace(judge, rubric="\n".join(f"- {principle}" for principle in principles), rubric_file=None)
    preferences = by_all.compare_all([(r.parent.task, r.trajectory, r.parent.trajectory) for r in revisions])
    scores = session.rubric.score_all([(r.parent.task, r.trajectory) for r in revisions])
    counts: Counter[str] = Counter()
    for made, preference, given in zip(revisions, preferences, scores, strict=True):
        if preference.score is None:
            continue
        parent = made.parent
        row = NewTrajectory(_group(parent), made.trajectory, parent.iteration, None, parent.id, REVISER, given)
        session.store.labels.add_compared(session.run.id, row, preference.score, f"judge {judge.model}", made.comment)
        counts[{1.0: "better", 0.5: "tied", 0.0: "worse"}[preference.score]] += 1
        counts["solved"] += session.rubric.passes(given)
        counts["solved_before"] += session.rubric.succeeded(parent.verdicts)
    return counts


def _sentence(report: Mapping[str, Json]) -> str:
    kept = report["better"] + report["tied"] + report["worse"]
    return (
        f"revised {kept} of {report['attempts']} attempts: {report['better']} better, {report['tied']} tied, "
        f"{report['worse']} worse; the rubric's successes among them went from {report['solved_before']} to "
        f"{report['solved']}"
    )
