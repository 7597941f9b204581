"""The last stage: what a run achieved, as a table, a plot and `summary.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from journeyman.agent.data import Json, Source, Split
from journeyman.storage.runs.evaluations import EvaluationInfo
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.store import ReplayStore
from journeyman.workflows.attempts.versions import candidate_number
from journeyman.workflows.session.session import RunRef, Session, borrow
from journeyman.workflows.settings.objectives import OBJECTIVES
from journeyman.workflows.stages.audit import audited

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEARNED = {
    "loss": "loss",
    "kl": "approx_kl",
    "kl to v1": "kl",
    "clipped": "clip_fraction",
    "entropy": "entropy",
    "grad norm": "grad_norm",
    "no contrast": "groups_without_contrast",
    "explained": "explained_variance",
    "tokens/s": "tokens_per_second",
}
"""A chosen few of what an update says of itself, by the column that shows it; docs/tracking.md says what they mean."""


def report(ref: RunRef) -> Json:
    """Finishes the run, writes `summary.json` and `progress.png` into its output folder, and returns the summary.

    `seconds` is the wall time from the run's first row to its end, pauses before a resumption included.
    """
    with borrow(ref) as session:
        summary = summarise(session)
        folder = Path(session.settings.run.output, session.run.own_name)
        folder.mkdir(parents=True, exist_ok=True)
        _plot(session, folder / "progress.png")
        summary |= {"plot": str(folder / "progress.png"), "summary": str(folder / "summary.json")}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        session.store.runs.finish(session.run.id)  # last: a run whose summary could not be written can be resumed
        return summary


def iteration_row(session: Session, iteration: int) -> dict[str, Json]:
    """What one iteration did, e.g. for the terminal's table; iteration 0 is the warm start.

    `broken` are attempts, held-out ones too, that an outage broke and that have no reward. `dagger`, the demonstrations
    by DAgger, is there where that is switched on, and so are each guard's pass@1, what
    an audit with a held-out verifier or with rewrites found, and a few statistics of the update (see `LEARNED`).
    """
    counts = session.store.trajectories.counts(session.run.id)
    policy = session.store.policies.numbered(session.run.id, candidate_number(iteration))
    found = [e for e in session.store.evaluations.of(session.run.id, Split.VALIDATION) if e.iteration == iteration]
    by_dagger = session.settings.dagger.per_attempt > 0
    sources = [Source.POLICY, Source.HINDSIGHT] if iteration else [Source.EXPERT, Source.HINDSIGHT]
    return {
        "iteration": iteration,
        "policy": f"v{policy.number}",
        "attempts": counts.get((iteration, sources[0]), 0),
        "broken": session.store.trajectories.broken(session.run.id, iteration),
        "relabels": counts.get((iteration, sources[1]), 0),
        **({"dagger": counts.get((iteration, Source.EXPERT), 0) if iteration else 0} if by_dagger else {}),
        "validation pass@1": found[0].pass_at_1,
        f"pass@{found[0].k}": found[0].pass_at_k,
        **{f"guard {e.guard}": e.pass_at_1 for e in _guarded(session, policy.number)},
        **_audit_columns(session, policy.number),
        **_learned_columns(session, policy),
        "promoted": promoted_text(policy),
    }


def promoted_text(policy: PolicyInfo) -> str:
    """Whether the version was promoted, and which guard stopped that, e.g. "no (guard words 0.410 -> 0.300)"."""
    said = {True: "yes", False: "no", None: "undecided"}[policy.promoted]
    return f"{said} ({policy.stopped_by})" if policy.stopped_by else said


def learned(policy: PolicyInfo) -> dict[str, Json]:
    """The chosen statistics of the update that made the version; None for what it had not."""
    found = {column: policy.stats.get(statistic) for column, statistic in LEARNED.items()}
    return found | {"tokens/s": None if found["tokens/s"] is None else round(found["tokens/s"])}


def _learned_columns(session: Session, policy: PolicyInfo) -> dict[str, Json]:
    """Those that the run's table has room for, as far as its updates have them by its settings."""
    policy_loss, kl = session.settings.finetune.policy_weight > 0, session.settings.kl.asked
    shown = {"kl": policy_loss, "kl to v1": kl, "clipped": policy_loss, "entropy": True, "grad norm": True}
    found = learned(policy)
    return {column: found[column] for column, there in (shown | {"tokens/s": True}).items() if there}


def _guarded(session: Session, number: int) -> list[EvaluationInfo]:
    return [e for e in session.store.evaluations.of(session.run.id, Split.GUARD) if e.policy_number == number]


def _audit_columns(session: Session, number: int) -> dict[str, Json]:
    """The audit's signs at a glance; `length` is that of the warm start's attempts times so much."""
    settings = session.settings.audit
    if settings.verifier is None and not settings.rewrites:
        return {}
    found = {info.metric: info.value for info in audited(session, number)}
    return {
        "length": found.get("length_vs_warm_start", 1.0),
        "repetition": found["repetition"],
        **({"rubric only": found.get("rubric_only")} if settings.verifier else {}),
        **({"flips": found.get("flips")} if settings.rewrites else {}),
    }


def summarise(session: Session) -> dict[str, Json]:
    """The run in numbers, all of them read from the store."""
    store, run = session.store, session.run
    policies = store.policies.of(run.id)
    promoted = [p for p in policies if p.promoted]
    tested = {e.policy_number: e for e in store.evaluations.of(run.id, Split.TEST)}
    counts = store.trajectories.counts(run.id)
    ends = {"warm_start": tested.get(promoted[0].number), "final": tested.get(promoted[-1].number)}
    return {
        "run": run.id,
        "name": run.name,
        "seed": session.settings.run.seed,
        "seconds": store.runs.seconds(run.id),
        "store": session.ref.store_url,
        "final_policy": promoted[-1].number,
        "test_pass_at_1": {end: e.pass_at_1 if e else None for end, e in ends.items()},
        "test_pass_at_k": {end: e.pass_at_k if e else None for end, e in ends.items()},
        "k": session.settings.evaluate.attempts,
        "validation": [_validation_row(e) for e in store.evaluations.of(run.id, Split.VALIDATION)],
        "promoted": [p.number for p in promoted],
        "stopped": [{"policy": p.number, "by": p.stopped_by} for p in policies if p.stopped_by],
        "guards": [{"guard": e.guard} | _validation_row(e) for e in store.evaluations.of(run.id, Split.GUARD)],
        "audit": audit_rows(store, run.id),
        "updates": [{"policy": p.number} | dict(p.stats) for p in policies if p.kind in OBJECTIVES],
        "trajectories": {source: sum(n for (_, s), n in counts.items() if s is source) for source in Source},
    }


def audit_rows(store: ReplayStore, run_id: str) -> list[dict[str, Json]]:
    """One for each audited version and split, with a column for each metric."""
    rows: dict[tuple[int, Split], dict[str, Json]] = {}
    for info in store.evaluations.audits(run_id):
        key = info.policy_number, info.split
        rows.setdefault(key, {"policy": info.policy_number, "split": info.split})[info.metric] = info.value
    return list(rows.values())


def _validation_row(info: EvaluationInfo) -> dict[str, Json]:
    return {
        "iteration": info.iteration,
        "policy": info.policy_number,
        "pass_at_1": info.pass_at_1,
        "pass_at_k": info.pass_at_k,
    }


def _plot(session: Session, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    _draw(figure.subplots(), session)
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, session: Session) -> None:
    """Validation pass@1 and pass@k over iterations, rejected candidates hollow, the warm start as a line."""
    from matplotlib.ticker import MaxNLocator

    evaluations = session.store.evaluations.of(session.run.id, Split.VALIDATION)
    promoted = {p.number for p in session.store.policies.of(session.run.id) if p.promoted}
    iterations = [e.iteration for e in evaluations]
    k = session.settings.evaluate.attempts
    for label, color, values in (
        (f"pass@{k}", "tab:blue", [e.pass_at_k for e in evaluations]),
        ("pass@1", "tab:orange", [e.pass_at_1 for e in evaluations]),
    ):
        axes.plot(iterations, values, color=color, label=label)
        faces = [color if e.policy_number in promoted else "white" for e in evaluations]
        axes.scatter(iterations, values, s=30, zorder=3, c=faces, edgecolors=color)
    axes.axhline(evaluations[0].pass_at_1, color="gray", linestyle="--", label="warm start (BC), pass@1")
    axes.set(xlabel="iteration", ylabel="share of validation tasks solved", ylim=(0, 1), title=session.run.name)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
