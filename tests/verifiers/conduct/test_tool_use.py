"""Tool calls: valid, needed, to a purpose."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.chat.tool_calls import ToolFormat, around_calls, read_calls
from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.plugins import ENVIRONMENTS, VERIFIERS, load_plugin
from journeyman.verifiers.conduct.tool_use import ToolUse

TASK = Task("gsm8k", "72", (Message("user", "?"),), Split.TEST, "0" * 32)
GRID = next(load_plugin(ENVIRONMENTS, "gridworld", {}).tasks(Split.TEST, 0))


def judge(*turns, task=TASK, **options):
    """Each turn is what the agent said, or that and what it was told."""
    said = [(turn, ()) if isinstance(turn, str) else (turn[0], turn[1:]) for turn in turns]
    trajectory = Trajectory(
        task.hash,
        Source.POLICY,
        tuple(
            Turn(
                Message("assistant", text, read_calls(text, ToolFormat.HERMES, ())),
                tuple(Message("tool", answer) for answer in told),
            )
            for text, told in said
        ),
        (),
        StopReason.TERMINATED,
    )
    verifier = ToolUse(**options)
    verdict = verifier.verify(task, trajectory)
    assert verdict == verifier.verify(task, trajectory)
    return verdict


def call(name="calculator", **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


MALFORMED = "malformed, or without an argument that its tool requires"
GOLD = ((call(expression="48/2"), "24"), (f"So {call(expression='48+24')}", "72"), "#### 72")


@pytest.mark.parametrize("options", [{}, {"needed": ("calculator",)}, {"budget": 2}, {"answer": "####"}])
def test_gold_is_1(options):
    verdict = judge(*GOLD, **options)
    assert (verdict.status, verdict.score, verdict.raw, verdict.explanation) == (Status.OK, 1.0, 0.0, None)
    assert verdict.extracted == "2 calls"


@pytest.mark.parametrize("text", ["", "no calls", "\x00\ud800", "a" * 10**6])
def test_silence_is_without_fault_but_not_what_was_needed(text):
    assert judge(text).score == 1
    needed = judge(text, needed=("calculator",))
    assert (needed.score, needed.raw, needed.explanation) == (0, 1, "'calculator' is not called")
    assert judge(needed=("calculator",)).score == 0
    assert judge(text, task=replace(TASK, payload={"needed_tools": ["calculator"]})).score == 0


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("<tool_call>", MALFORMED),
        ("<tool_call>{}</tool_call>", MALFORMED),
        ('<tool_call>{"name": "calculator", "arguments": {"expression": NaN}}</tool_call>', MALFORMED),
        (call("calculater", expression="1"), "there is no tool 'calculater', did you mean 'calculator'?"),
        (call(), "'calculator', $: 'expression' is a required property"),
        (call(expression=1), "'calculator', $.expression: 1 is not of type 'string'"),
        (call(expression="1", digits=2), "'calculator', $: 'digits' is no property it may have"),
        (call(expression=json.loads("[" * 200 + "]" * 200)), "'calculator', arguments deeper than 64"),
        (call(expression="48/2"), "made before, and answered alike"),
    ],
)
def test_a_fault_is_named_and_costs_its_share(bad, fault):
    verdict = judge(*GOLD[:2], (bad, "24"), GOLD[2])
    assert (verdict.score, verdict.raw) == (pytest.approx(2 / 3), 1)
    assert verdict.explanation == f"call 3: {fault}"
    assert judge(*GOLD[:2], (bad, "24"), GOLD[2], needed=("calculator",)).score == pytest.approx(2 / 3)
    assert judge((bad, "24"), needed=("calculator",)).score == float("before" in fault)


def test_the_same_call_with_another_answer_is_none_too_many():
    up = call("move", direction="up")
    assert judge((up, "farther"), (up, "nearer"), task=GRID).score == 1
    assert judge((up, "farther"), (up, "farther"), task=GRID).score == 0.5
    assert judge((up + up, "farther", "nearer"), task=GRID).score == 1
    assert judge((up + up, "farther", "farther"), task=GRID).score == 0.5
    wrong = judge((call("move", direction="north"), "?"), task=GRID)
    assert wrong.explanation == "call 1: 'move', $.direction: 'north' is not one of ['up', 'down', 'left', 'right']"


def test_what_is_beyond_the_budget_or_after_the_answer_is_needless():
    verdict = judge(*GOLD, budget=1)
    assert (verdict.score, verdict.explanation) == (0.5, "call 2: beyond the budget of 1")
    assert judge(*GOLD, budget=0).score == 0
    late = judge(*GOLD, (call(expression="1"), "1"), answer="####")
    assert (late.score, late.explanation) == (pytest.approx(2 / 3), "call 3: after the answer")
    assert judge((f"#### 72 {call(expression='1')}", "1"), answer="####").score == 0
    assert judge((f"{call(expression='1')} #### 72", "1"), answer="####").score == 1


def test_an_environment_without_tools_abstains():
    verdict = judge("a", task=replace(TASK, environment="dataset"))
    assert (verdict.status, verdict.explanation) == (Status.ABSTAIN, "environment 'dataset' has no tools")


def test_it_is_a_plugin_with_checked_options():
    assert load_plugin(VERIFIERS, "tools", {"needed": ["calculator"], "budget": 3}) == ToolUse(("calculator",), 3)
    with pytest.raises(UnknownNameError, match="unknown tool 'calculater': did you mean 'calculator'"):
        judge("a", needed=("calculater",))
    with pytest.raises(SettingsError, match="option 'budget' must be at least 0 calls, got -1"):
        judge("a", budget=-1)
    with pytest.raises(SettingsError, match="option 'answer' must be text"):
        judge("a", answer="")


@given(st.lists(st.sampled_from(["<tool_call>", "</tool_call>", call(expression="1"), " a ", '{"name"'])).map("".join))
def test_any_text_can_be_judged(text):
    verdict = judge(text)
    assert 0 <= verdict.score <= 1
    written = len(around_calls(text)) - 1
    assert verdict.extracted == f"{written} calls"
    assert written >= len(read_calls(text, ToolFormat.HERMES, ()))


@pytest.mark.parametrize(
    "text", ["<tool_call>" * 30_000, "<tool_call></tool_call>" * 10_000, call(expression="1" * 9_000) * 30]
)
def test_a_megabyte_costs_little_and_few_faults_are_named(text, own_time):
    started = own_time()
    verdict = judge(text)
    assert own_time() - started < 1
    assert len(verdict.explanation) < 2_000
