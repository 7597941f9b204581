"""The boundary around environments: what the agent did wrong is told to it, and what broke is an outage."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from journeyman.agent.data import Message, Observation, Split, Step, Task, Tool
from journeyman.agent.environments.boundary import MAX_MESSAGE_CHARS, BoundedEnvironment
from journeyman.agent.errors import InvalidAction, Outage

TASK = Task("odd", 1, (Message("user", "go"),), Split.TRAIN, "a" * 32)
SAID = Message("assistant", "x")
TOLD = Observation((Message("user", "on"),))


def shown(role="user", content="on", count=1):
    return Observation(tuple(Message(role, content) for _ in range(count)))


class Odd:
    """Answers what it is told to answer; a callable is called, and may raise."""

    def __init__(self, tools=(), start=TOLD, step=Step(TOLD, None, False, False), close=None):  # noqa: B008
        self.tools, self._answers = tools, SimpleNamespace(start=start, step=step, close=close)

    async def start(self):
        return self._answer(self._answers.start)

    async def step(self, action):
        return self._answer(self._answers.step)

    async def close(self):
        return self._answer(self._answers.close)

    def _answer(self, answer):
        return answer() if callable(answer) else answer


def play(environment, seconds=5.0):
    """The prompt and the step's answer."""

    async def episode():
        bounded = BoundedEnvironment(seconds)
        try:
            opened = environment if callable(environment) else (lambda _: environment)
            return await bounded.begin(opened, TASK), await bounded.step(SAID)
        finally:
            await bounded.close()

    return asyncio.run(episode())


def raises(error):
    def answer(*_):
        raise error

    return answer


def test_a_whole_episode():
    prompt, step = play(Odd())
    assert prompt == TOLD.messages
    assert step == Step(TOLD, None, False, False)


STEPS = [
    (None, "step: TypeError: the answer is a NoneType, not a Step"),
    ("text", "step: TypeError: the answer is a str, not a Step"),
    (Step(None, None, False, False), "step: TypeError: the observation is a NoneType, not an Observation"),
    (Step(Observation(None), None, False, False), "step: TypeError: 'NoneType' object is not iterable"),
    (Step(Observation(("on",)), None, False, False), "step: TypeError: the observation holds 'on', not a Message"),
    (Step(shown(content=None), None, False, False), "step: TypeError: the observation holds Message("),
    (Step(shown(role="nobody"), None, False, False), "step: ValueError: a message has role 'nobody'"),
    (Step(shown(role="assistant"), None, False, False), "step: ValueError: a message has role 'assistant'"),
    (Step(shown(content="\ud800"), None, False, False), "step: UnicodeEncodeError: "),
    (Step(shown(count=65), None, False, False), "step: ValueError: the observation has 65 messages, more than 64"),
    (Step(shown(count=0), None, False, False), "step: ValueError: the observation has no message, though the"),
    (Step(TOLD, "high", False, False), "step: TypeError: the reward is 'high', not a number or None"),
    (Step(TOLD, float("nan"), False, False), "step: ValueError: the reward is nan"),
    (Step(TOLD, float("inf"), False, False), "step: ValueError: the reward is inf"),
    (Step(TOLD, None, "yes", False), "step: TypeError: terminated is 'yes' and truncated False, not True or False"),
    (Step(TOLD, None, False, None), "step: TypeError: terminated is False and truncated None, not True or False"),
    (raises(ZeroDivisionError("by 0")), "step: ZeroDivisionError: by 0"),
    (raises(SystemExit(1)), "step: SystemExit: 1"),
    (raises(asyncio.CancelledError()), "step: CancelledError"),
]


@pytest.mark.parametrize(("answer", "text"), STEPS, ids=[text[:60] for _, text in STEPS])
def test_a_step_that_is_none_is_an_outage(answer, text):
    with pytest.raises(Outage) as caught:
        play(Odd(step=answer))
    assert str(caught.value).startswith(text)


STARTS = [
    (lambda _: None, "start: AttributeError: 'NoneType' object has no attribute 'tools'"),
    (raises(OSError("no board")), "open: OSError: no board"),
    (raises(SystemExit()), "open: SystemExit"),
    (Odd(start=None), "start: TypeError: the observation is a NoneType, not an Observation"),
    (Odd(start=shown(count=0)), "start: ValueError: the prompt has no message"),
    (Odd(start=shown(role="nobody")), "start: ValueError: a message has role 'nobody'"),
    (Odd(start=raises(RuntimeError("no board"))), "start: RuntimeError: no board"),
    (Odd(start=raises(InvalidAction("what?"))), "start: InvalidAction before there was an action: what?"),
    (Odd(tools=None), "start: TypeError: tools is None, not a sequence: () where there are none"),
    (Odd(tools=("move",)), "start: TypeError: tools holds 'move', not a Tool"),
    (Odd(tools=(Tool("move", "go", None),)), "start: TypeError: tools holds Tool("),
    (object(), "start: AttributeError: "),
]


@pytest.mark.parametrize(("environment", "text"), STARTS, ids=[text[:60] for _, text in STARTS])
def test_an_environment_that_does_not_begin_is_an_outage(environment, text):
    with pytest.raises(Outage) as caught:
        play(environment)
    assert str(caught.value).startswith(text)


def test_what_numpy_says_is_taken_as_python_would_say_it():
    _, step = play(Odd(step=Step(TOLD, np.float32(0.5), np.bool_(False), np.bool_(True))))
    assert step == Step(TOLD, 0.5, False, True)
    assert (type(step.reward), type(step.truncated)) == (float, bool)


def test_a_long_observation_is_cut_and_says_so():
    _, step = play(Odd(step=Step(shown(content="x" * 5_000_000), None, False, False)))
    (message,) = step.observation.messages
    assert message.content == "x" * MAX_MESSAGE_CHARS + f" ... [{5_000_000 - MAX_MESSAGE_CHARS} characters more]"


def test_a_last_observation_may_be_empty():
    _, step = play(Odd(step=Step(shown(count=0), 1.0, True, False)))
    assert step == Step(Observation(()), 1.0, True, False)


@pytest.mark.parametrize(("tools", "role"), [((), "user"), ((Tool("move", "go", {}),), "tool")])
def test_an_invalid_action_is_answered_with_its_reason(tools, role):
    _, step = play(Odd(tools=tools, step=raises(InvalidAction("there is a wall"))))
    assert step == Step(Observation((Message(role, "error: there is a wall"),)), None, False, False)
    _, step = play(Odd(step=raises(InvalidAction())))
    assert step.observation.messages[0].content == "error: this action cannot be taken"


@pytest.mark.parametrize("error", [OSError("cannot close"), SystemExit(), InvalidAction("late")])
def test_a_close_that_breaks_is_told_and_changes_nothing(caplog, error):
    assert play(Odd(close=raises(error)))[1].reward is None
    assert "closing an environment failed" in caplog.text


def test_a_close_that_hangs_is_bounded():
    class Hangs(Odd):
        async def close(self):
            await asyncio.Event().wait()

    assert play(Hangs(), seconds=0.1)[1].reward is None
