"""The algorithm: imitate, then attempt, verify, relabel, fine-tune, and keep what validation says is better.

    demonstrations -> warm start (BC) -> policy v1
    tasks -> generate -> score -> relabel -> fine-tune -> policy v(n+1) -> evaluate -> audit -> promote?   (and again)

With `dagger.per_attempt` above 0 an expert, where there is one, goes on from failed attempts' states after `relabel`.
What `fine-tune` learns by, GRPO or imitation or preferences, `finetune.objective` says for each iteration.

Every stage is a function in a file of its own name. It takes references, reads what it needs from the store, writes
what it made back, and does nothing that is done already: so this same function also resumes a run that was killed.
"""

from __future__ import annotations

from collections.abc import Callable

from journeyman.agent.data import Json
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.life import under_way
from journeyman.workflows.session.session import RunRef, lend
from journeyman.workflows.stages.audit import audit
from journeyman.workflows.stages.dagger import dagger
from journeyman.workflows.stages.evaluate import evaluate, test
from journeyman.workflows.stages.finetune import finetune
from journeyman.workflows.stages.generate import generate
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.promote import promote
from journeyman.workflows.stages.relabel import relabel
from journeyman.workflows.stages.report import iteration_row, report
from journeyman.workflows.stages.score import score
from journeyman.workflows.stages.warm_start import warm_start
from journeyman.workflows.tracking.sending import tracking

Stage = Callable[..., Json]
Wrap = Callable[[Stage], Stage]
"""What makes of a stage whatever the engine runs: Prefect's `task`, or the stage itself."""


def directly(stage: Stage) -> Stage:
    """The wrap of `--engine none`."""
    return stage


def expert_iteration(ref: RunRef, reporter: Reporter, wrap: Wrap = directly) -> Json:
    """Runs a stored run to its end and returns its summary (see `report`)."""
    with (
        lend(ref, reporter) as session,
        under_way(session.store.runs, ref.run_id) as begins,
        tracking(session) as track,
    ):

        def go(stage: Stage, *iteration: int) -> Json:
            begins(" ".join([stage.__name__, *map(str, iteration)]))
            return wrap(stage)(ref, *iteration)

        def show(iteration: int) -> None:
            reporter.iteration(iteration_row(session, iteration))
            track(iteration)

        go(prepare)
        go(warm_start)
        go(evaluate, 0)
        go(audit, 0)
        show(0)

        for iteration in range(1, session.settings.run.iterations + 1):
            go(generate, iteration)
            go(score, iteration)
            go(relabel, iteration)
            if session.settings.dagger.per_attempt:
                go(dagger, iteration)
            go(finetune, iteration)
            go(evaluate, iteration)
            go(audit, iteration)
            go(promote, iteration)
            show(iteration)

        go(test)
        track(session.settings.run.iterations)
        return go(report)
