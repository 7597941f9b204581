"""`journeyman track RUN`: sends a stored run's numbers to trackers, those it has and others that are asked for now."""

from __future__ import annotations

import argparse
from pathlib import Path

from journeyman.agent.errors import Outage, UsageError
from journeyman.workflows.console import Reporter
from journeyman.workflows.session.checking import check_trackers
from journeyman.workflows.session.runs import find_run
from journeyman.workflows.session.session import lend
from journeyman.workflows.settings.loading import settings_with
from journeyman.workflows.tracking.sending import Sender


def track(options: argparse.Namespace) -> None:
    """`journeyman track RUN`: what the trackers do not have yet; a run that is under way sends its numbers itself."""
    reporter = Reporter()
    with lend(find_run(options.store, options.run), reporter) as session:
        settings = settings_with(session.run, options.overrides, ["track"], "where to is set by track.NAME=VALUE")
        session.settings = settings.anchored(str(Path.cwd()))
        to = session.settings.track.to
        check_trackers(session.settings.track)
        finished = session.store.runs.iteration_seconds(session.run.id)
        if not to:
            raise UsageError(f"run {session.run.id} has no trackers: say which, e.g. --set track.to=tensorboard")
        if not finished:
            raise UsageError(f"run {session.run.id} has nothing to send: its warm start is not done")
        sender = Sender(session)
        try:
            for name in to:
                sender.send_to(name, max(finished))
                reporter.line(f"{name} has iterations 0 to {max(finished)} of run {session.run.own_name}")
        except Outage as error:
            raise UsageError(str(error)) from None
        finally:
            sender.close(finished=session.run.finished)
