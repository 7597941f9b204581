"""Bit flipping, the textbook case for hindsight: turn one row of bits into another, one flip a turn.

With n bits there are 2^n states and a reward in one of them, so that an agent which acts at random learns nothing from
its own successes for n beyond a dozen; every attempt reaches some states, though (Andrychowicz et al. 2017, sec. 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import Json, Message, Split, Task, Tool, ToolCall, canonical_hash
from journeyman.agent.environments.goal_episode import GoalEpisode

FLIP = Tool(
    "flip",
    "Flip one bit.",
    {
        "type": "object",
        "properties": {"place": {"type": "integer", "minimum": 1, "description": "from the left, the first is 1"}},
        "required": ["place"],
    },
)


@dataclass
class BitFlipping:
    """Random pairs of states without end. The demonstrations flip what differs, from the left."""

    bits: Annotated[int, Field(ge=2, le=64)] = 8
    """n."""
    instant: ClassVar[bool] = True
    rubric: Mapping[str, float] = field(default_factory=lambda: {"goal": 1.0})
    """Verifiers used where the settings name none, with their weights."""

    @property
    def max_turns(self) -> int:
        """As many as there are bits, as in the paper: every goal can be reached."""
        return self.bits

    def tasks(self, split: Split, seed: int) -> Iterator[Task]:
        """Endless tasks; start and goal are uniform, and never equal."""
        rng = keyed_rng(seed, "bit_flipping", split)
        while True:
            start, goal = ("".join(map(str, rng.integers(2, size=self.bits))) for _ in range(2))
            if start != goal:
                yield bit_task(start, goal, split)

    def demonstrate(self, task: Task, after: Sequence[Message] = ()) -> Sequence[Message] | None:
        """One flip for each bit that differs after those actions; None where none does."""
        state = self.open(task).states(after)[-1]
        differing = [i for i, (a, b) in enumerate(zip(state, task.goal, strict=True), 1) if a != b]
        return [Message("assistant", "", (ToolCall(FLIP.name, {"place": place}),)) for place in differing] or None

    def open(self, task: Task) -> BitFlippingEpisode:
        """A fresh episode."""
        return BitFlippingEpisode(task)


class BitFlippingEpisode(GoalEpisode[str]):
    """One attempt; every state it went through was a goal reached."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, (FLIP,), task.payload["start"], max_turns=len(task.payload["start"]))

    def after(self, state: str, action: Message) -> str:
        """The state with one bit flipped, or itself where the action flips none."""
        return flipped(state, read_place(action))

    def goal_at(self, state: str) -> Json:
        """The state itself."""
        return state

    def tell(self, action: Message) -> str:
        """Each bit and whether it is wrong, and what a flip is where there was none."""
        before, now = self.path[-2:]
        text = look(now, self.task.goal)
        return f"no flip: call {FLIP.name} once, with a place from 1 to {len(now)}\n{text}" if now == before else text

    def between(self, start: str, goal: Json) -> BitFlippingEpisode:
        """A fresh episode of turning `start` into `goal`."""
        return BitFlippingEpisode(bit_task(start, goal, self.task.split))


def bit_task(start: str, goal: str, split: Split) -> Task:
    """The task of turning `start` into `goal`, e.g. "0110" into "1111"."""
    prompt = Message("user", f"Flip one bit at a time until none is wrong (!).\n{look(start, goal)}")
    name = canonical_hash("bit_flipping", [start, goal])
    return Task("bit_flipping", goal, (prompt,), split, name, {"start": start})


def look(state: str, goal: str) -> str:
    """What the agent is told, e.g. "1=0 2!1" for state "01" and goal "00": each place and its bit, ! where it is wrong.

    It says what differs, as two rows of bits would too: a model of some 10^5 parameters learns to read it in minutes,
    and to compare two rows of bits it does not.
    """
    places = enumerate(zip(state, goal, strict=True), 1)
    return " ".join(f"{i}{'=' if bit == wanted else '!'}{bit}" for i, (bit, wanted) in places)


def read_place(action: Message) -> int | None:
    """The place in the action's one call of the tool, from 1, or None where it has no call, another one, or several."""
    if len(action.tool_calls) != 1 or action.tool_calls[0].name != FLIP.name:
        return None
    place = action.tool_calls[0].arguments.get("place")
    return place if isinstance(place, int) and not isinstance(place, bool) else None


def flipped(state: str, place: int | None) -> str:
    """The state with the bit at `place` (from 1) flipped; itself where there is no such place."""
    if place is None or not 1 <= place <= len(state):
        return state
    return state[: place - 1] + ("0" if state[place - 1] == "1" else "1") + state[place:]
