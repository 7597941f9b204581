"""Guess two numbers, told "higher" or "lower" after each guess: tasks with equal prompts, whose state is hidden."""

from dataclasses import dataclass, field

from journeyman import Message, Observation, Split, Step, Task, Verdict, canonical_hash, keyed_rng


@dataclass
class Guessing:
    highest: int = 12
    max_turns: int = 10
    rubric: dict[str, float] = field(default_factory=lambda: {"guessing:Found": 1.0})

    def tasks(self, split, seed):
        pairs = [[1 + i // self.highest, 1 + i % self.highest] for i in range(self.highest**2)]
        order = keyed_rng(0, "guessing").permutation(len(pairs))  # one for all seeds: splits never meet
        prompt = (Message("user", f"Guess two numbers from 1 to {self.highest}."),)
        for i in keyed_rng(seed, "guessing", split).permutation(order[list(Split).index(split) :: 3]):
            name = canonical_hash("guessing", [self.highest, pairs[i]])
            yield Task("guessing:Guessing", pairs[i], prompt, split, name, {"highest": self.highest})

    def demonstrate(self, task, after=()):
        guesses = []
        for number in task.goal:
            low, high, guess = 1, task.payload["highest"], 0
            while guess != number:
                guess = (low + high) // 2
                low, high = (guess + 1, high) if guess < number else (low, guess - 1)
                guesses.append(Message("assistant", str(guess)))
        return None if after else guesses

    def open(self, task):
        return Game(task.prompt, list(task.goal))


@dataclass
class Game:
    prompt: tuple[Message, ...]
    left: list[int]
    tools = ()

    async def start(self):
        return Observation(self.prompt)

    async def step(self, action):
        guess = int(said) if (said := action.content.strip()).isdecimal() and len(said) < 3 else 0  # no number: too low
        told = "right" if guess == self.left[0] else "higher" if guess < self.left[0] else "lower"
        self.left = self.left[told == "right" :]
        return Step(Observation((Message("user", told),)), None, terminated=not self.left, truncated=False)

    async def close(self): ...


class Found:
    name, version = "found", "1"

    def verify(self, task, trajectory):
        right = sum(message.content == "right" for turn in trajectory.turns for message in turn.observation)
        return Verdict.scored(right / len(task.goal))
