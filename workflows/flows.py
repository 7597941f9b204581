"""The flow as Prefect shows it: a flow run, a task run for each stage, artifacts for the tables; nothing is computed.

Stages have side effects and know what is done already, so Prefect's caching and results are off for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from journeyman.workflows.console import Reporter, as_text
from journeyman.workflows.expert_iteration import Stage, expert_iteration
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.session.session import RunRef
from journeyman.workflows.settings.settings import Settings


class ArtifactReporter(Reporter):
    """Shows every row as an artifact of the flow run too."""

    def iteration(self, row: Mapping[str, object]) -> None:
        """A row of the table of iterations."""
        super().iteration(row)
        table = [{name: as_text(value) for name, value in r.items()} for r in self.rows]
        create_table_artifact(table, key="journeyman-iterations", description="One row an iteration")


@flow(name="journeyman", flow_run_name="{settings.run.name}", persist_result=False, validate_parameters=True)
def journeyman_flow(settings: Settings, run_id: str | None = None) -> dict[str, Any]:
    """One run: a new one from `settings`, or the stored run `run_id` to its end."""
    ref = start_run(settings) if run_id is None else RunRef(settings.store.url, run_id)
    summary: dict[str, Any] = expert_iteration(ref, ArtifactReporter(), as_task)
    lines = [f"| {name} | {as_text(value)} |" for name, value in summary["test_pass_at_1"].items()]
    text = "\n".join(["| test pass@1 | |", "|---|---|", *lines, "", f"Run `{ref.run_id}` in `{summary['store']}`"])
    create_markdown_artifact(text, key="journeyman-summary", description="Test results of the run")
    audits = [{name: as_text(value) for name, value in row.items()} for row in summary["audit"]]
    create_table_artifact(audits, key="journeyman-audit", description="Signs of reward hacking, a row a version")
    return summary


def as_task(stage: Stage) -> Stage:
    """The stage as a Prefect task that is named after it."""
    wrap = task(name=stage.__name__, cache_policy=NO_CACHE, persist_result=False, cache_result_in_memory=False)
    wrapped: Stage = wrap(stage)
    return wrapped
