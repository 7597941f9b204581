"""Greet somebody: many greetings are right, and people have a taste that no rule of the run says."""

from dataclasses import dataclass, field
from itertools import product

from journeyman import Message, Observation, Split, Step, Task, Verdict, canonical_hash, keyed_rng

NAMES = [
    "".join(parts) for parts in product(("An", "Be", "Ca", "Da", "El"), ("na", "lo", "ri", "sa"), "bcdfghklmnrstvw")
]
OPENINGS = ("hey", "hello", "good day", "welcome")
CLOSINGS = ("", "!", ".", " :)")
ORDER = keyed_rng(0, "manners").permutation(len(NAMES)).tolist()  # one for all seeds: splits never meet


@dataclass
class Greetings:
    max_turns: int = 1
    rubric: dict[str, float] = field(default_factory=lambda: {"manners:Said": 1.0})

    def tasks(self, split, seed):
        for i in keyed_rng(seed, "manners", split).permutation(ORDER[list(Split).index(split) :: 3]):
            prompt = (Message("user", f"Greet {NAMES[i]}."),)
            name = canonical_hash("manners", NAMES[i])
            yield Task("manners:Greetings", NAMES[i], prompt, split, name, {})

    def demonstrate(self, task, after=()):
        opening, closing = divmod(ORDER.index(NAMES.index(task.goal)) // 3 % 16, 4)  # each way is shown as often
        return None if after else [Message("assistant", OPENINGS[opening] + CLOSINGS[closing])]

    def open(self, task):
        return Doorstep(task.prompt)


@dataclass
class Doorstep:
    prompt: tuple[Message, ...]
    tools = ()

    async def start(self):
        return Observation(self.prompt)

    async def step(self, action):
        return Step(Observation(()), None, terminated=True, truncated=False)

    async def close(self): ...


class Said:
    """All that the run's rubric asks for by rule: that something was said."""

    name, version = "said", "1"

    def verify(self, task, trajectory):
        return Verdict.passed(bool(trajectory.final_text.strip()))


class Polite:
    """What people like, hidden from the run: a formal greeting, and one that ends quietly."""

    name, version = "polite", "1"

    def verify(self, task, trajectory):
        said = trajectory.final_text.strip()
        formal, quiet = said.startswith(("good day", "welcome")), said in (o + "." for o in OPENINGS)
        return Verdict.scored((formal + quiet) / 2, extracted=said)
