"""Exported rows that are good, and what can be wrong with them: each kind with what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rows = list[Any]
Change = Callable[[Rows], object]


def an_id(number: int) -> str:
    return f"01a2249e-0000-7000-8000-{number:012d}"


def a_row(number: int, group: str, source: str, **changes: Any) -> dict[str, Any]:
    prompt, said = [{"role": "user", "content": "say 7"}], {"role": "assistant", "content": "7"}
    task = {"environment": "toy", "split": "train", "hash": "h7", "goal": 7, "payload": {"n": 7}, "prompt": prompt}
    logprobs = None if source == "expert" else [-0.5, -0.25]
    segment = {"prompt_ids": [1, 2], "completion_ids": [7, 8, 9], "loss_mask": [True, False, True]}
    return {
        "format": 4,
        "id": an_id(number),
        "group": group,
        "attempt": 0,
        "source": source,
        "iteration": 1,
        "policy": None if source == "expert" else 1,
        "parent": None,
        "relabeller": None,
        "stop_reason": "terminated",
        "error": None,
        "seconds": 1.5,
        "task": task,
        "turns": [{"action": said, "observation": [{"role": "tool", "content": "ok"}], "reward": 0.5}],
        "segments": [segment | {"behaviour_logprobs": logprobs}],
        "scores": [],
        "labels": [],
        "uses": [],
    } | changes


def good_rows() -> Rows:
    """A demonstration, two attempts, and a relabel of one of them at a task of its own."""
    numbers = {"score": 0.5, "raw": -2.0, "step_scores": [0.5, 1.0]}
    told = dict.fromkeys(("extracted", "expected", "explanation", "retracted"))
    score = {"verifier": "goal", "version": "1", "config_hash": "00", "attempt": 0, "status": "ok", "latency_ms": 1.5}
    label = {"other": ["p", 1], "value": 1.0, "person": "ann", "comment": None}
    use = {"policy": 2, "reward": 0.5, "rubric_hash": "feed", "advantage": -1.0, "nll_weight": 0.0, "ratio": None}
    relabel = a_row(4, "r", "hindsight", parent=["p", 0], relabeller="final/2")
    relabel["task"] |= {"hash": "h8", "goal": 8}
    return [
        a_row(1, "e", "expert", iteration=0),
        a_row(
            2,
            "p",
            "policy",
            scores=[score | numbers | told],
            labels=[label | {"created_at": "2026-01-31T12:00:00+00:00"}],
            uses=[use | {"importance_weight": 1.0}],
        ),
        a_row(3, "p", "policy", attempt=1),
        relabel,
    ]


def put(value: Any, *path: str | int, row: int = 1) -> Change:
    """Writes a value into a row."""

    def change(rows: Rows) -> None:
        place = rows[row]
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def drop(*path: str, row: int = 1) -> Change:
    def change(rows: Rows) -> None:
        place = rows[row]
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]

    return change


def nested(depth: int) -> Any:
    value: Any = 7
    for _ in range(depth):
        value = [value]
    return value


SEGMENT, TASK, SCORE, LABEL, USE = ("segments", 0), ("task",), ("scores", 0), ("labels", 0), ("uses", 0)
TURN = ("turns", 0)

BAD_ROWS: dict[str, tuple[Change, str]] = {
    "token id below 0": (put(-5, *SEGMENT, "prompt_ids", 0), "segments[0].prompt_ids[0]: Input should be greater"),
    "token id of 40 bits": (put(2**40, *SEGMENT, "completion_ids", 1), "segments[0].completion_ids[1]"),
    "token id that is no whole number": (put(1.7, *SEGMENT, "prompt_ids", 0), "a valid integer, got 1.7"),
    "token id as a fraction": (put(1.0, *SEGMENT, "prompt_ids", 0), "a valid integer, got 1.0"),
    "token id as text": (put("7", *SEGMENT, "prompt_ids", 0), "a valid integer, got '7'"),
    "token id true": (put(True, *SEGMENT, "prompt_ids", 0), "a valid integer, got True"),
    "token id missing": (put(None, *SEGMENT, "prompt_ids", 0), "got None"),
    "token ids as text": (put("12", *SEGMENT, "prompt_ids"), "a valid list, got '12'"),
    "mask of another length": (put([True], *SEGMENT, "loss_mask"), "1 in loss_mask for 3 completion_ids"),
    "mask of numbers": (
        put([1, 0, 1], *SEGMENT, "loss_mask"),
        "segments[0].loss_mask[0]: Input should be a valid bool",
    ),
    "log-probs of another length": (put([-0.5], *SEGMENT, "behaviour_logprobs"), "1 behaviour_logprobs for 2 tokens"),
    "log-prob as text": (put(["-1", -1.0], *SEGMENT, "behaviour_logprobs"), "behaviour_logprobs[0]"),
    "log-prob above 0": (
        put([0.5, -1.0], *SEGMENT, "behaviour_logprobs"),
        "behaviour_logprobs[0]: Input should be less",
    ),
    "log-prob past float32": (put([-1e39, -1.0], *SEGMENT, "behaviour_logprobs"), "behaviour_logprobs[0]"),
    "log-probs of an expert": (
        put([-0.5, -0.5], *SEGMENT, "behaviour_logprobs", row=0),
        "source expert, which has none",
    ),
    "segment with more": (put(1, *SEGMENT, "positions"), "segments[0].positions: Extra inputs are not permitted"),
    "segments missing": (drop("segments"), "segments: Field required"),
    "score 7": (put(7, *SCORE, "score"), "scores[0].score: Input should be less than or equal to 1, got 7"),
    "score true": (put(True, *SCORE, "score"), "scores[0].score"),
    "score without ok": (put("error", *SCORE, "status"), "with status error: `ok` has one"),
    "ok without score": (put(None, *SCORE, "score"), "score None with status ok"),
    "numbers without ok": (lambda r: r[1]["scores"][0].update(status="timeout", score=None), "only `ok` carries"),
    "step score 2": (put([2.0], *SCORE, "step_scores"), "scores[0].step_scores[0]"),
    "status unknown": (put("fine", *SCORE, "status"), "scores[0].status"),
    "verdict twice": (lambda r: r[1]["scores"].append(r[1]["scores"][0]), "is there twice"),
    "verifier without a name": (put("", *SCORE, "verifier"), "scores[0].verifier"),
    "latency below 0": (put(-1.0, *SCORE, "latency_ms"), "scores[0].latency_ms"),
    "retracted here, not there": (
        lambda r: r[2]["scores"].append(r[1]["scores"][0] | {"retracted": "why"}),
        "row 3: scores: the verdicts of goal/1 are retracted here, not there",
    ),
    "label 7": (put(7, *LABEL, "value"), "labels[0].value"),
    "label of nobody": (put(None, *LABEL, "person"), "labels[0].person"),
    "label with itself": (put(["p", 0], *LABEL, "other"), "compares the attempt with itself"),
    "label with none": (put(["q", 0], *LABEL, "other"), "('q', 0), which is not among the rows"),
    "label across tasks, before": (put(["e", 0], *LABEL, "other"), None),  # the same task: replaced below
    "label across tasks, later": (put(["r", 0], *LABEL, "other"), "compares the attempt with one at another task"),
    "label without a zone": (put("2026-01-31T12:00:00", *LABEL, "created_at"), "no time with its zone"),
    "label before all time": (put("0001-01-01T00:00:00+23:59", *LABEL, "created_at"), "no time with its zone"),
    "iteration below 0": (put(-3, "iteration"), "iteration: Input should be greater than or equal to 0, got -3"),
    "iteration past its column": (put(2**31, "iteration"), "iteration: Input should be less"),
    "attempt as text": (put("x", "attempt"), "attempt: Input should be a valid integer, got 'x'"),
    "attempt twice": (put(0, "attempt", row=2), "row 3: attempt: attempt 0 of group 'p' is there twice"),
    "group missing": (drop("group"), "group: Field required"),
    "group too long": (put("g" * 501, "group"), "group: String should have at most 500 characters"),
    "group with a control character": (put("p\x1b[2J", "group"), "group: holds a control character"),
    "group of two iterations": (put(2, "iteration", row=2), "row 3: iteration: 2, but 1 in a row of the same group"),
    "group of two policies": (put(None, "policy", row=2), "row 3: policy: None, but 1 in a row of the same group"),
    "id as it was pasted": (put(an_id(9).upper(), "id"), "id: is no UUID in lower case with dashes"),
    "id without dashes": (put(an_id(9).replace("-", ""), "id"), "id: is no UUID"),
    "id twice": (put(an_id(1), "id"), f"row 2: id: {an_id(1)} is there twice"),
    "role nobody": (put("nobody", *TURN, "observation", 0, "role"), "turns[0].observation[0].role"),
    "action of the user": (put("user", *TURN, "action", "role"), "turns[0].action.role"),
    "content of bytes": (put([55], *TURN, "action", "content"), "turns[0].action.content"),
    "call without arguments": (put([{"name": "f"}], *TURN, "action", "tool_calls"), "tool_calls[0].arguments"),
    "call with deep arguments": (
        put([{"name": "f", "arguments": {"a": nested(300)}}], *TURN, "action", "tool_calls"),
        "is nested more than 256 deep",
    ),
    "reward as text": (put("high", *TURN, "reward"), "turns[0].reward"),
    "source unknown": (put("oracle", "source"), "source"),
    "source as a list": (put(["policy"], "source"), "source"),
    "stop reason unknown": (put("bored", "stop_reason"), "stop_reason"),
    "seconds below 0": (put(-1.0, "seconds"), "seconds"),
    "relabel without a parent": (put(None, "parent", row=3), "names a parent and what made it"),
    "attempt with a parent": (lambda r: r[1].update(parent=["e", 0], relabeller="x/1"), "of the policy has none"),
    "parent of no row": (put(["nobody", 0], "parent", row=3), "parent: ('nobody', 0) is not among the rows before"),
    "parent itself": (put(["r", 0], "parent", row=3), "is not among the rows before"),
    "parent later": (lambda r: r.insert(0, r.pop()), "row 1: parent: ('p', 0) is not among the rows before"),
    "parent an expert": (put(["e", 0], "parent", row=3), "parent: ('e', 0) is no attempt of the policy"),
    "parent of one number": (put(["p"], "parent", row=3), "parent"),
    "expert at another task": (
        lambda r: r[3].update(source="expert", policy=None, segments=[]),
        "an expert goes on at the task of ('p', 0)",
    ),
    "relabel of another policy": (put(None, "policy", row=3), "policy: None, but its parent is of 1"),
    "relabel before its parent": (put(0, "iteration", row=3), "iteration: 0, but its parent is of 1"),
    "policy of an expert": (put(1, "policy", row=0), "which no version sampled"),
    "policy 0": (put(0, "policy"), "policy"),
    "policy of the future": (put(3, "policy"), "policy 3 in iteration 1, which makes 2"),
    "use by its own policy": (put(1, *USE, "policy"), "which was there before the attempt"),
    "use twice": (lambda r: r[1]["uses"].append(r[1]["uses"][0]), "the use by policy 2 is there twice"),
    "use by weight 0": (put(0.0, *USE, "importance_weight"), "uses[0].importance_weight"),
    "use held out": (lambda r: [row["task"].update(split="test") for row in r[1:3]], "is held out"),
    "demonstration held out": (put("validation", *TASK, "split", row=0), "is held out"),
    "split unknown": (put("dev", *TASK, "split"), "task.split"),
    "two goals under one hash": (put(8, *TASK, "goal"), "row 2: task: another task with the hash 'h7'"),
    "two splits under one hash": (lambda r: r[2]["task"].update(split="test"), "another task with the hash 'h7'"),
    "one goal, told otherwise": (put(7.0, *TASK, "goal", row=2), "another task with the hash 'h7'"),
    "prompt of nothing": (put([], *TASK, "prompt"), "task.prompt"),
    "goal missing": (drop("task", "goal"), "task.goal: Field required"),
    "payload of a list": (put([], *TASK, "payload"), "task.payload"),
    "environment of no name": (put("", *TASK, "environment"), "task.environment"),
    "error with NUL": (put("a\0b", "error"), "error: holds a NUL character"),
    "row with more": (put(1, "reward"), "reward: Extra inputs are not permitted"),
    "row of an older layout": (put(3, "format"), "format: this is no row of layout 4, which is read here, but of 3"),
    "row of layout true": (put(True, "format"), "format"),
    "row of no layout": (drop("format"), "but of None"),
    "no rows": (lambda r: r.clear(), "there are no rows to import"),
}
BAD_ROWS["label across tasks, before"] = (
    lambda r: r[3]["labels"].append(r[1]["labels"][0] | {"other": ["e", 0]}),
    "row 4: labels: ('e', 0) is an attempt at another task",
)

BAD_LINES: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "NaN": (lambda t: t.replace("-0.25", "NaN", 1), "line 2: NaN is no number of JSON"),
    "Infinity": (lambda t: t.replace("-0.25", "-Infinity", 1), "-Infinity is no number"),
    "a float past all floats": (lambda t: t.replace("-0.25", "-1e999", 1), "behaviour_logprobs[1]"),
    "a float past all floats, in a payload": (
        lambda t: t.replace('{"n": 7}', '{"n": 1e999}'),
        "task.payload: holds inf",
    ),
    "a number of 5,000 digits": (lambda t: t.replace('"n": 7', '"n": ' + "7" * 5000), "line 1: Exceeds the limit"),
    "a token id of 4,000 digits": (lambda t: t.replace("[1, 2]", f"[{'7' * 4000}]"), "segments[0].prompt_ids[0]"),
    "a key twice": (lambda t: t.replace('"n": 7', '"n": 7, "n": 8'), "line 1: the key 'n' is there twice"),
    "a lone surrogate": (
        lambda t: t.replace('"say 7"', '"say \\ud800"'),
        "task.prompt[0].content: holds a lone surrogate",
    ),
    "a lone surrogate in a payload": (lambda t: t.replace('"n": 7', '"n": "\\udfff"'), "task.payload: holds a lone"),
    "a lone surrogate as a key": (lambda t: t.replace('"n": 7', '"\\ud9ab": 7'), "task.payload: holds a lone"),
    "10,000 lists in one another": (lambda t: t.replace('"n": 7', '"n": ' + "[" * 10_000 + "]" * 10_000), ""),
    "300 lists in one another": (lambda t: t.replace('"n": 7', '"n": ' + "[" * 300 + "]" * 300), "more than 256 deep"),
    "a byte order mark": (lambda t: "\ufeff" + t, "line 1: Unexpected UTF-8 BOM"),
    "UTF-16": (lambda t: t.encode("utf-16"), "line 1: 'utf-8' codec can't decode"),
    "Latin-1": (lambda t: t.replace("say", "s\xe9y").encode("latin-1"), "line 1: 'utf-8' codec can't decode"),
    "cut short": (lambda t: t[:-100], "line 4: "),
    "an empty line": (lambda t: t.replace("\n", "\n\n", 1), "line 2: Expecting value"),
    "an array of rows": (lambda t: "[" + ",".join(t.splitlines()) + "]", "row 1: a row is an object, not ["),
    "text": (lambda t: "not json\n", "line 1: Expecting value"),
    "bytes": (lambda t: bytes(range(256)), "line 1: "),
    "NUL bytes": (lambda t: b"\0" * 4000, "line 1: "),
    "nothing": (lambda t: "", "there are no rows to import"),
    "null": (lambda t: "null\n", "row 1: a row is an object, not None"),
    "a table": (lambda t: "group,attempt\np,0\n", "line 1: Expecting value"),
}
