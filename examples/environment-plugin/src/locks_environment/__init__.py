"""An environment as a plugin: a dataclass that draws tasks, demonstrates and opens them; its fields are its options.

A lock has some wheels of ten digits each; the agent turns one wheel by one digit a turn, by a tool, until they show the
number that it was told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from journeyman import GoalEpisode, Message, Split, Task, Tool, ToolCall, canonical_hash, keyed_rng

TURN = Tool(
    "turn",
    "Turn one wheel of the lock by one digit.",
    {
        "type": "object",
        "properties": {
            "wheel": {"type": "integer", "minimum": 1, "description": "from the left, the first is 1"},
            "way": {"enum": ["up", "down"]},
        },
        "required": ["wheel", "way"],
    },
)


@dataclass
class Locks:
    """Random locks without end. Raise `ValueError` for options that make no sense: the run then does not begin."""

    wheels: int = 3
    rubric: Mapping[str, float] = field(default_factory=lambda: {"goal": 1.0})
    """Verifiers used where the settings name none, with their weights; `goal` asks the episode what was reached."""

    def __post_init__(self) -> None:
        if not 1 <= self.wheels <= 6:
            raise ValueError(f"option 'wheels' must be from 1 to 6, got {self.wheels}")

    @property
    def max_turns(self) -> int:
        """Twice what the farthest goal takes."""
        return 10 * self.wheels

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """The split's tasks in an order fixed by `seed`. The two parts of a lock decide its split: none is in two."""
        rng = keyed_rng(seed, "locks", split)
        while True:
            shown, number = ("".join(map(str, rng.integers(10, size=self.wheels))) for _ in range(2))
            if shown != number and _split_of(shown, number) is split:
                yield lock(shown, number, split)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """The expert's actions from the state that `after` led to: wheel by wheel, the short way. None at the goal."""
        shown = self.open(task).states(after)[-1]
        actions = []
        for wheel, (digit, wanted) in enumerate(zip(shown, task.goal, strict=True), 1):
            up = (int(wanted) - int(digit)) % 10
            ways = ["up"] * up if up <= 5 else ["down"] * (10 - up)
            actions += [Message("assistant", "", (ToolCall("turn", {"wheel": wheel, "way": way}),)) for way in ways]
        return actions or None

    def open(self, task: Task) -> Lock:
        """A fresh episode; a stored task is opened so too, without any option, so the task carries all it needs."""
        return Lock(task)


class Lock(GoalEpisode[str]):
    """One attempt. A `GoalEpisode` has `start`, `step`, `close`, and all that hindsight asks for; states are its goals."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, (TURN,), task.payload["shown"], max_turns=10 * len(task.goal))

    def after(self, state: str, action: Message) -> str:
        """The state that an action leads to; the same one where it is none, whatever was said."""
        calls = [call.arguments for call in action.tool_calls if call.name == "turn"]
        wheel, way = (calls[0].get("wheel"), calls[0].get("way")) if len(calls) == 1 else (None, None)
        if not isinstance(wheel, int) or not 1 <= wheel <= len(state) or way not in ("up", "down"):
            return state
        digit = (int(state[wheel - 1]) + (1 if way == "up" else -1)) % 10
        return state[: wheel - 1] + str(digit) + state[wheel:]

    def goal_at(self, state: str) -> str:
        """Goals are one-to-one with states."""
        return state

    def tell(self, action: Message) -> str:
        """What the agent is told after the action."""
        before, now = self.path[-2:]
        return f"shows {now}" if now != before else f"shows {now}; turn(wheel, way) turns a wheel from 1 to {len(now)}"

    def between(self, start: str, goal: str) -> Lock:
        """A fresh episode from one state to another: how hindsight tells an attempt anew."""
        return Lock(lock(start, goal, self.task.split))


def lock(shown: str, number: str, split: Split) -> Task:
    """The task; its hash is of all that makes it what it is, and of nothing else: no split, no counter."""
    prompt = (Message("user", f"Turn the wheels until they show {number}.\nshows {shown}"),)
    return Task("locks", number, prompt, split, canonical_hash("locks", [shown, number]), {"shown": shown})


def _split_of(shown: str, number: str) -> Split:
    place = int(canonical_hash("split of locks", [shown, number])[:8], 16) % 10
    return {0: Split.TEST, 1: Split.VALIDATION}.get(place, Split.TRAIN)
