"""The errors of this package.

    JourneymanError
    ├── UsageError          what a user can put right: the CLI prints one line and exits with 2
    │   ├── SettingsError       a settings file or a value in it
    │   ├── UnknownNameError    a plugin, model, run or trajectory that is not there
    │   ├── DataError           a data file that is missing or malformed
    │   │   └── TemplateRefusedError    a conversation that the model's chat template refuses or does not show whole
    │   ├── DamagedPolicyError  weights on disk that are not those that were saved
    │   └── SandboxError        commands cannot be run in a sandbox on this machine
    ├── StoreError          the database cannot do what was asked
    │   └── LeaseLostError      the work is another worker's by now
    ├── MicroBatchTooLargeError     one of several processes that learn together has too little memory
    └── SamplerError        the sampler or its engine, or a chat server, failed
        ├── ChatTimeoutError    a chat server did not answer in time
        └── ChatRefusedError    a chat server will not answer this request, however often it is sent

A rollout or a verifier that fails is data, not one of these: see `Trajectory.error` and `Status.ERROR`. Two exceptions
beside the tree tell an environment's failures apart: `InvalidAction`, which it raises for what the agent did wrong, and
`Outage`, which the boundary around it makes of everything else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from journeyman.agent.credentials import shown


class JourneymanError(Exception):
    """Base of all errors raised by this package."""


class UsageError(JourneymanError):
    """Something the user can put right; the message names what, where and the remedy."""


class SettingsError(UsageError):
    """A settings file, or a value in it, is not usable."""


class UnknownNameError(UsageError):
    """A name that is not known; lists the nearest known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        choices = sorted(known)
        super().__init__(f"unknown {kind} {shown(name)}: {suggestion(name, choices)}{'; ' + remedy if remedy else ''}")


class DataError(UsageError):
    """A data file is missing or malformed."""


class TemplateRefusedError(DataError):
    """The model's chat template refuses a conversation, or leaves out what the model is to see; it ends one episode."""


class DamagedPolicyError(UsageError):
    """A policy's files are not those that were saved; nothing of it was loaded."""

    def __init__(self, folder: Path, what: str, remedy: str = "restore it from a copy") -> None:
        super().__init__(f"policy {folder} is not loaded: {what}; {remedy}")
        self.folder, self.what, self.remedy = folder, what, remedy

    def with_remedy(self, remedy: str) -> DamagedPolicyError:
        """The same from one who knows better what can be done."""
        return DamagedPolicyError(self.folder, self.what, remedy)


class SandboxError(UsageError):
    """Commands cannot be run in a sandbox on this machine."""


class StoreError(JourneymanError):
    """The database cannot do what was asked."""


class LeaseLostError(StoreError):
    """A claim on work expired, and another worker took the work over."""


class MicroBatchTooLargeError(JourneymanError):
    """One of several processes that learn together has no memory for a micro-batch: all have to begin anew."""

    def __init__(self, tokens: int) -> None:
        super().__init__(
            f"the memory does not hold a micro-batch of {tokens} tokens on every rank: set learner.micro_batch_tokens "
            f"to {tokens // 2} or less"
        )
        self.tokens = tokens


class SamplerError(JourneymanError):
    """The sampler or its engine, or a chat server, failed."""


class ChatTimeoutError(SamplerError):
    """A chat server did not answer in time."""


class ChatRefusedError(SamplerError):
    """A chat server will not answer this request, however often it is sent: it is too long, say, or filtered."""


class InvalidAction(Exception):  # noqa: N818 (what it is, not that it is an error of ours)
    """The agent did something that cannot be done; an environment raises it from `step`, with a text for the agent."""


class Outage(Exception):  # noqa: N818 (the same)
    """Other people's code broke, took too long, or answered with what is none; the text says which call, and how."""


class Late(Outage):
    """There was no answer in time."""


def suggestion(name: str, choices: Iterable[str]) -> str:
    """A question with the nearest choice where there is one, else the list of choices."""
    listed = [choice for choice in choices if choice != name]
    near = difflib.get_close_matches(name, listed, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(listed) or 'none'}"
