"""Checks of episodes: tools, the expert's demonstrations, gold answers, empty answers and garbage, sizes, time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from jsonschema import Draft202012Validator, SchemaError

from journeyman.agent.data import Message, Status, StopReason, Task, Tool, ToolCall, Trajectory
from journeyman.agent.errors import Late, Outage
from journeyman.workflows.environment_checks.drawing import SPLITS
from journeyman.workflows.environment_checks.subject import Subject, short
from journeyman.workflows.findings import Finding
from journeyman.workflows.session.engines import promises_instant

PER_SPLIT = 4
"""Tasks of each split that are acted out."""
GARBAGE = ("", "?", "\x00 \u2603 ]]}{{ 123 <tool_call>nothing(</tool_call>")
MOST_TURNS = 20
"""Of an attempt that says garbage."""
LONGEST_INSTANT_S = 0.2
"""What one call may take of an environment that promises to be instant, on a busy machine."""

_GOLD = {"exact", "number", "math"}
"""Verifiers that pass the goal itself, said as the answer."""


def check_acting(subject: Subject) -> Iterator[Finding]:
    """Acts tasks out; where a call hangs, nothing more is asked."""
    tasks = [task for split in SPLITS for task in subject.tasks[split][:PER_SPLIT]]
    if not tasks:
        return
    try:
        found = _tools(subject, tasks[0])
        yield found
        if not found.ok:
            return
        yield from _expert(subject, tasks)
        yield from _gold(subject, tasks)
        yield _garbage(subject, tasks)
        yield _sizes(subject)
        yield _time(subject)
    except Late as fault:
        remedy = "bound what it waits for: nothing more was asked of it"
        yield Finding("time", ok=False, says=str(fault), remedy=remedy)


def _tools(subject: Subject, task: Task) -> Finding:
    try:
        environment = subject.ask("open", partial(subject.task_set.open, task))
        tools = subject.ask("tools", lambda: list(environment.tools))
    except Late:
        raise
    except Outage as fault:
        return Finding("tools", ok=False, says=str(fault), remedy="give every episode `tools`, () where it has none")
    for tool in tools:
        if problem := next(_problems(tool), None):
            remedy = 'write Tool("move", "Go one cell.", {"type": "object", "properties": {...}, "required": [...]})'
            return Finding("tools", ok=False, says=problem, remedy=remedy)
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        return Finding("tools", ok=False, says=f"{names} are not all different", remedy="name each tool once")
    subject.tools = tools
    return Finding("tools", ok=True, says=", ".join(names) or "none")


def _problems(tool: object) -> Iterator[str]:
    """What is wrong with the tool; the first matters, later ones may follow from it."""
    if not isinstance(tool, Tool):
        yield f"{short(tool)} is no Tool"
        return
    if not isinstance(tool.name, str) or not re.fullmatch(r"[A-Za-z_][\w.-]*", tool.name):
        yield f"{short(tool.name)} is no name that a model can call"
    if not isinstance(tool.description, str) or not tool.description.strip():
        yield f"tool {tool.name} has no description"
    schema = tool.parameters
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        yield f'the parameters of tool {tool.name} are no JSON schema of {{"type": "object"}}'
        return
    try:
        json.dumps(schema)
        Draft202012Validator.check_schema(schema)
    except (TypeError, ValueError, SchemaError) as error:
        yield f"the parameters of tool {tool.name} are no JSON schema: {str(error).splitlines()[0]}"
        return
    if missing := set(schema.get("required", ())) - set(schema.get("properties", {})):
        yield f"tool {tool.name} requires {sorted(missing)}, which it does not describe"


def _expert(subject: Subject, tasks: Sequence[Task]) -> Iterator[Finding]:
    """Whether what it demonstrates is acted out to the end, and passes the environment's own verifiers."""
    shown = []
    for task in tasks:
        try:
            actions = subject.demonstrate(task)
            if actions is not None:
                shown.append((task, actions, subject.act(task, actions)))
        except Late:
            raise
        except Outage as fault:
            yield _bad_expert(task, str(fault))
            return
    if not shown:
        says = "demonstrates nothing: a warm start needs `warm_start.file`, or `warm_start.demonstrations = 0`"
        yield Finding("expert", ok=True, says=says)
        return
    scores = subject.scores([(task, trajectory) for task, _, trajectory in shown])
    for (task, actions, trajectory), given in zip(shown, scores, strict=True):
        if problem := _unsolved(subject, actions, trajectory):
            yield _bad_expert(task, problem)
            return
        if subject.rubric is not None and not subject.rubric.passes(given):
            says = "; ".join(f"{s.verifier.name} says {s.verdict.score} ({_why(s.verdict)})" for s in given)
            yield _bad_expert(task, f"does not solve it: {says}")
            return
    yield Finding("expert", ok=True, says=f"solves the {len(shown)} tasks of {len(tasks)} that it demonstrates")
    yield _going_on(subject, shown)


def _unsolved(subject: Subject, actions: Sequence[Message], trajectory: Trajectory) -> str | None:
    """What is wrong with the demonstration, whatever verifiers say."""
    if trajectory.stop_reason is StopReason.ERROR:
        return f"the environment raised {trajectory.error}"
    if len(actions) > subject.task_set.max_turns:
        return f"it takes {len(actions)} turns, and max_turns is {subject.task_set.max_turns}"
    if len(trajectory.turns) < len(actions):
        return f"the episode is over after {len(trajectory.turns)} of its {len(actions)} actions"
    return None


def _bad_expert(task: Task, says: str) -> Finding:
    remedy = "`demonstrate` is to give the actions that solve a task, in at most max_turns, or None"
    return Finding("expert", ok=False, says=f"at {short(task.prompt[-1].content)}: {says}", remedy=remedy)


def _going_on(subject: Subject, shown: Sequence[tuple[Task, Sequence[Message], Trajectory]]) -> Finding:
    """Whether what it demonstrates from a later state solves the task from there: DAgger asks for that."""
    asked, answered = 0, 0
    for task, actions, trajectory in shown:
        after = [turn.action for turn in trajectory.turns[:1]]
        if len(actions) < 2:
            continue
        asked += 1
        try:
            rest = subject.demonstrate(task, after)
            whole = None if rest is None else subject.act(task, [*after, *rest])
            problem = None if rest is None or whole is None else _unsolved(subject, [*after, *rest], whole)
        except Late:
            raise
        except Outage as fault:
            remedy = "write demonstrate(self, task, after=()), and give None for states that it has no way from"
            return Finding("expert, later", ok=False, says=f"after an action: {fault}", remedy=remedy)
        if whole is not None:
            answered += 1
            [given] = subject.scores([(task, whole)])
            if problem or (subject.rubric is not None and not subject.rubric.passes(given)):
                problem = problem or "it is not solved"
                says = f"at {short(task.prompt[-1].content)}, from the second state: {problem}"
                remedy = "demonstrate(task, after) is to go on from the state after `after`, or to give None"
                return Finding("expert, later", ok=False, says=says, remedy=remedy)
    says = (
        f"goes on from a later state in {answered} of {asked} tasks" if answered else "none: DAgger has nothing to ask"
    )
    return Finding("expert, later", ok=True, says=says)


def _gold(subject: Subject, tasks: Sequence[Task]) -> Iterator[Finding]:
    """Where verifiers compare the answer with the goal, the goal itself must pass."""
    names = {c.id.name for c in subject.rubric.criteria if c.term.weight > 0} if subject.rubric is not None else set()
    told = [task for task in tasks if isinstance(task.goal, str | int | float)]
    if not names or not names <= _GOLD or not told:
        return
    attempts = [(task, subject.act(task, [Message("assistant", str(task.goal))])) for task in told]
    for (task, _), given in zip(attempts, subject.scores(attempts), strict=True):
        if subject.rubric is not None and not subject.rubric.passes(given):
            says = f"the goal {short(task.goal)}, said as the answer, does not pass: {_why(given[0].verdict)}"
            remedy = "let goals be what the verifiers take for an answer"
            yield Finding("gold", ok=False, says=says, remedy=remedy)
            return
    yield Finding("gold", ok=True, says="the goal itself, said as the answer, passes")


def _garbage(subject: Subject, tasks: Sequence[Task]) -> Finding:
    """Whether nothing said, or nonsense, neither passes nor breaks the environment."""
    attempts = []
    for task in tasks[:PER_SPLIT]:
        for actions in _nonsense(subject):
            try:
                attempts.append((task, subject.act(task, actions)))
            except Late:
                raise
            except Outage as fault:
                return Finding("garbage", ok=False, says=str(fault), remedy="no action may break the environment")
    for (task, made), given in zip(attempts, subject.scores(attempts), strict=True):
        said = short(made.turns[-1].action.content if made.turns else "")
        if made.stop_reason is StopReason.ERROR:
            remedy = "answer what is no action with an observation: models say anything"
            return Finding("garbage", ok=False, says=f"at {said} it raised {made.error}", remedy=remedy)
        if failed := [s for s in given if s.verdict.status in (Status.ERROR, Status.TIMEOUT)]:
            says = f"verifier {failed[0].verifier.name} fails at {said}: {_why(failed[0].verdict)}"
            return Finding("garbage", ok=False, says=says, remedy="a verifier is to judge whatever was said")
        if subject.rubric is not None and subject.rubric.passes(given):
            says = f"{said} passes at {short(task.prompt[-1].content)}"
            return Finding("garbage", ok=False, says=says, remedy="a success is to be earned: look at the verifiers")
    return Finding("garbage", ok=True, says="empty answers and garbage are taken, and do not pass")


def _nonsense(subject: Subject) -> Iterator[list[Message]]:
    turns = min(subject.task_set.max_turns, MOST_TURNS)
    for text in GARBAGE:
        yield [Message("assistant", text)] * turns
    for tool in subject.tools[:8]:
        names = list(tool.parameters.get("properties", {}))
        yield [Message("assistant", "", (ToolCall(tool.name, {name: {"?": [None]} for name in names}),))] * turns


def _sizes(subject: Subject) -> Finding:
    """In tokens of the model `tiny`, which are bytes; others have fewer."""
    render, tools = subject.renderer, subject.tools
    prompts = [
        len(render.encode(render.conversation(task.prompt, tools))) for split in SPLITS for task in subject.tasks[split]
    ]
    attempts = [len(s.prompt_ids) + len(s.completion_ids) for _, t in subject.acted for s in t.segments]
    says = f"prompts of up to {max(prompts)} bytes, attempts of up to {max(attempts, default=0)}"
    if max(prompts) >= subject.context:
        remedy = f"shorten them, or set sampler.max_context above {max(prompts)} and say --context here"
        return Finding("sizes", ok=False, says=f"{says}: a context of {subject.context} has no room", remedy=remedy)
    if max(attempts, default=0) > subject.context:
        says += f": set sampler.max_context to {max(attempts)} or more"
    return Finding("sizes", ok=True, says=says)


def _time(subject: Subject) -> Finding:
    methods = {m: s for m, s in subject.slowest.items() if m in ("open", "start", "step", "close")}
    says = ", ".join(f"{method} {1000 * seconds:.3g} ms" for method, seconds in methods.items())
    slowest = max(methods.values(), default=0.0)
    if promises_instant(subject.task_set) and slowest > LONGEST_INSTANT_S:
        remedy = "take `instant` out of its class, so that its calls are made beside others'"
        return Finding("time", ok=False, says=f"at most: {says}, though it says that it is instant", remedy=remedy)
    return Finding("time", ok=True, says=f"at most: {says}")


def _why(verdict: object) -> str:
    explanation, extracted, expected = (getattr(verdict, n) for n in ("explanation", "extracted", "expected"))
    return str(explanation or f"got {short(extracted)}, expected {short(expected)}")
