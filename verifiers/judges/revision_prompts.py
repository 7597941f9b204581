"""What a judge is asked by a constitution: to criticise an attempt by a principle, then to revise its last message."""

from __future__ import annotations

import re
from collections.abc import Callable

from journeyman.agent.data import Message, Task, Trajectory
from journeyman.verifiers.judges.prompts import Asked, Question, Sections, attempt_messages, mark, seed_of, shown

SYSTEM = "You help an assistant to do better. You hold it to principles, and write what it should have said."


def critique_of(task: Task, trajectory: Trajectory, principle: str, seed: int) -> Asked[str]:
    """Asks for a few sentences on where the attempt falls short of the principle."""
    sections = {"TASK": task.prompt, "ATTEMPT": attempt_messages(trajectory)}
    wish = f"Criticise the attempt by this principle, in a few sentences. Where does it fall short of it?\n{principle}"
    return _asked(sections, wish, seed, lambda _: ("", _whole))


def revision_of(task: Task, trajectory: Trajectory, critique: str, seed: int) -> Asked[str]:
    """Asks for the attempt's last message anew, between two lines that carry a nonce."""
    criticism = [Message("user", critique)]
    sections = {"TASK": task.prompt, "ATTEMPT": attempt_messages(trajectory), "CRITICISM": criticism}
    wish = "Write the last message of the attempt anew, so that it does its task and the criticism no longer holds."
    return _asked(sections, wish, seed, _between)


def _asked(
    sections: Sections, wish: str, seed: int, form: Callable[[str], tuple[str, Callable[[str], str | None]]]
) -> Asked[str]:
    def make(again: int) -> Question[str]:
        content = f"{shown(sections, (seed,))}\n\n{wish}"
        nonce = mark("text", seed, again, content, absent_from=content)
        rule, read = form(nonce)
        return Question((Message("system", SYSTEM), Message("user", content + rule)), seed_of(nonce), read)

    return make


def _whole(text: str) -> str | None:
    return text.strip() or None


def _between(nonce: str) -> tuple[str, Callable[[str], str | None]]:
    head, end = f"<<<MESSAGE {nonce}>>>", f"<<<END MESSAGE {nonce}>>>"

    def read(text: str) -> str | None:
        found = re.findall(rf"^{head}[ \t]*\n(.*?)\n{end}[ \t]*$", text, re.DOTALL | re.MULTILINE)
        return found[0].strip() or None if len(found) == 1 else None

    return f"\nPut the whole message, and nothing else, between these two lines:\n{head}\n{end}", read
