"""GSM8K: marks become calls, and a gold solution played through the environment ends in its answer."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, StopReason, ToolCall, Trajectory, Turn
from journeyman.agent.environments.gsm8k import GSM8K, marks
from journeyman.agent.plugins import ENVIRONMENTS, VERIFIERS, load_plugin

ROW = {
    "question": "Ann had 48 nuts and gave half away, then she found as many again. How many has she?",
    "answer": "She kept 48/2 = <<48/2=24>>24 nuts.\nShe has 24+24 = $<<24+24=48.00>>48 now.\n#### 48",
}


def make_task(tmp_path, row=ROW):
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps(row) + "\n")
    task_set = load_plugin(ENVIRONMENTS, "gsm8k", {"test": str(file)})
    return task_set, next(task_set.tasks(Split.TEST, seed=0))


def call(expression):
    return (ToolCall("calculator", {"expression": expression}),)


def play(task_set, task, actions):
    async def steps():
        environment, turns = task_set.open(task), []
        start = await environment.start()
        for action in actions:
            step = await environment.step(action)
            turns.append(Turn(action, step.observation.messages, step.reward))
            if step.terminated:
                break
        await environment.close()
        return start, turns, step.terminated

    return asyncio.run(steps())


def test_marks_become_calls_and_the_text_stays_word_for_word(tmp_path):
    task_set, task = make_task(tmp_path)
    assert task.goal == "48"
    assert [m.role for m in task.prompt] == ["system", "user"]
    assert task_set.demonstrate(task) == (
        Message("assistant", "She kept 48/2 = ", call("48/2")),
        Message("assistant", "24 nuts.\nShe has 24+24 = $", call("24+24")),
        Message("assistant", "48 now.\n#### 48"),
    )


def test_a_demonstration_played_through_ends_and_verifies(tmp_path):
    task_set, task = make_task(tmp_path)
    start, turns, terminated = play(task_set, task, task_set.demonstrate(task))
    assert start.messages == task.prompt
    assert [t.observation for t in turns] == [(Message("tool", "24"),), (Message("tool", "48"),), ()]
    assert terminated
    assert len(turns) <= task_set.max_turns
    trajectory = Trajectory(task.hash, Source.EXPERT, tuple(turns), (), StopReason.TERMINATED)
    (name,) = task_set.rubric
    assert load_plugin(VERIFIERS, name, {}).verify(task, trajectory).score == 1


def test_every_call_of_an_action_is_answered_and_a_bad_one_is_no_crash(tmp_path):
    task_set, task = make_task(tmp_path)
    calls = (*call("1/0"), *call("2*3"), ToolCall("search", {"q": "nuts"}))
    _, turns, terminated = play(task_set, task, [Message("assistant", "", calls)])
    assert [m.content for m in turns[0].observation] == [
        "error: division by zero",
        "6",
        "error: there is no tool 'search'; the one tool is 'calculator'",
    ]
    assert not terminated


def test_odd_marks_are_still_calls(tmp_path):
    answer = "<<5=5>>5 and <<.5*2=1>>1, <<20%*50=10>>10%, <<1/2=.5>>.5, <<7>> and << not one >\n#### 1,200"
    task_set, task = make_task(tmp_path, {**ROW, "answer": answer})
    actions = task_set.demonstrate(task)
    assert [a.tool_calls for a in actions] == [call("5"), call(".5*2"), call("20%*50"), call("1/2"), call("7"), ()]
    assert actions[-1].content == " and << not one >\n#### 1,200"
    assert task.goal == "1,200"
    assert list(marks(answer)) == [("5", "5"), (".5*2", "1"), ("20%*50", "10"), ("1/2", ".5"), ("7", "")]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.text("ab \n$", max_size=8), st.text("12+*./=", max_size=8)), max_size=6),
    st.text("cd", max_size=5),
)
def test_actions_put_together_are_the_solution_without_its_marks(pieces, tail):
    solution = "".join(f"{text}<<{mark}>>" for text, mark in pieces) + tail
    actions = GSM8K().expert_actions(solution)
    assert "".join(action.content for action in actions) == "".join(text for text, _ in pieces) + tail
    assert [len(action.tool_calls) for action in actions] == [1] * len(pieces) + [0]
