"""Bit flipping, the textbook case for hindsight: turn one row of bits into another, one flip a turn.

With n bits there are 2^n states and a reward in one of them, so that an agent which acts at random learns nothing from
its own successes for n beyond a dozen; every attempt reaches some states, though (Andrychowicz et al. 2017, sec. 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from journeyman.agent.chance import keyed_rng
from journeyman.agent.data import (
    Achieved,
    Episode,
    Json,
    Message,
    Observation,
    Split,
    Step,
    Task,
    Tool,
    ToolCall,
    Trajectory,
    Turn,
    canonical_hash,
)

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

    def demonstrate(self, task: Task) -> Sequence[Message]:
        """One flip for each bit that differs."""
        differing = [i for i, (a, b) in enumerate(zip(task.payload["start"], task.goal, strict=True), 1) if a != b]
        return [Message("assistant", "", (ToolCall(FLIP.name, {"place": place}),)) for place in differing]

    def open(self, task: Task) -> BitFlippingEpisode:
        """A fresh episode."""
        return BitFlippingEpisode(task)


class BitFlippingEpisode:
    """One attempt; a GoalEnvironment, since every state it went through was a goal reached."""

    def __init__(self, task: Task) -> None:
        self.tools: Sequence[Tool] = (FLIP,)
        self._task = task
        self._state: str = task.payload["start"]
        self._turn = 0

    async def start(self) -> Observation:
        """Both states."""
        return Observation(self._task.prompt)

    async def step(self, action: Message) -> Step:
        """Flips one bit. Reward 1 for reaching the goal, else 0."""
        return self._advance(action)

    async def close(self) -> None:
        """Nothing is held."""

    def achieved_goals(self, trajectory: Trajectory) -> list[Achieved]:
        """The states that the trajectory went through, the start apart, by its actions alone."""
        states = self._states(trajectory)
        first: dict[str, int] = {states[0]: -1}
        for turn, state in enumerate(states[1:]):
            first.setdefault(state, turn)
        return [Achieved(state, turn) for state, turn in first.items() if turn >= 0]

    def relabel(self, trajectory: Trajectory, goal: Json, start_turn: int) -> Episode:
        """The attempt from the state before `start_turn` until it first reaches `goal`.

        Raises ValueError where that part of the trajectory does not reach it, or starts with it.
        """
        start = self._states(trajectory)[start_turn]
        task = bit_task(start, goal, self._task.split)
        episode = BitFlippingEpisode(task)
        turns: list[Turn] = []
        for turn in trajectory.turns[start_turn:] if start != goal else ():
            step = episode._advance(turn.action)
            turns.append(Turn(turn.action, step.observation.messages, step.reward))
            if step.reward:
                return Episode(task, tuple(turns), start_turn)
        raise ValueError(f"the trajectory does not go from {start} to {goal} from turn {start_turn} on")

    def _states(self, trajectory: Trajectory) -> list[str]:
        """The state before each turn, and at the end."""
        states = [str(self._task.payload["start"])]
        for turn in trajectory.turns:
            states.append(flipped(states[-1], read_place(turn.action)))
        return states

    def _advance(self, action: Message) -> Step:
        place = read_place(action)
        self._turn += 1
        before, self._state = self._state, flipped(self._state, place)
        arrived = self._state == self._task.goal
        text = f"now {self._state}"
        if self._state == before:
            text = f"no flip: call {FLIP.name} once, with a place from 1 to {len(before)}\n{text}"
        observation = Observation((Message("tool", text),))
        return Step(observation, float(arrived), arrived, not arrived and self._turn >= len(before))


def bit_task(start: str, goal: str, split: Split) -> Task:
    """The task of turning `start` into `goal`, e.g. "0110" into "1111"."""
    prompt = Message("user", f"Flip bits, one at a time, to make {goal}.\nnow {start}")
    name = canonical_hash("bit_flipping", [start, goal])
    return Task("bit_flipping", goal, (prompt,), split, name, {"start": start})


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
