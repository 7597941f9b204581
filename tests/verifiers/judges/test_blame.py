"""Whose fault it is that there is no answer: a text's, the judge's, the server's or the settings'."""

import re
import time
from dataclasses import replace

import pytest
from judging import judge, prompt_of, ruling, says, section, structured, task_of, verdict

from journeyman.agent.data import Message, Status
from journeyman.agent.errors import UsageError
from journeyman.verifiers.judges.asking import PLAIN_ATTEMPT

TOO_LONG = '{"error": {"message": "maximum context length is 4096 tokens", "code": "context_length_exceeded"}}'
FILTERED = '{"error": {"code": "content_filter", "message": "filtered"}}'


def about(text, does, otherwise="6"):
    """A judge that `does` something where the attempt holds `text`, and else rules."""

    def answer(body, number):
        return does(body, number) if text in section(prompt_of(body), "ATTEMPT") else ruling(otherwise)(body, number)

    return answer


def two(body, number):
    return f"{ruling('10')(body, number)}\n{ruling('1')(body, number)}"


@pytest.mark.parametrize(
    "does",
    [
        lambda body, number: "la la la " * 100,
        two,
        lambda body, number: "",
        ruling("11"),
        lambda body, number: (400, TOO_LONG, {}),
        lambda body, number: (400, FILTERED, {}),
        lambda body, number: (403, "flagged by moderation", {}),
        lambda body, number: (413, "Payload Too Large", {}),
        lambda body, number: (422, "input too long", {}),
        lambda body, number: (200, FILTERED.replace('"content_filter"', "403"), {}),
        lambda body, number: time.sleep(0.7) or "late",
    ],
)
def test_an_attempt_that_no_answer_can_be_had_about_has_the_lowest_score(chat_server, does):
    chat_server.answer = about("bad", does)
    attempts = [(task_of(), says(text)) for text in ("good", "bad", "good too")]
    found = judge(chat_server, timeout=0.5, scale=[-2, 8]).verify_all(attempts)
    assert [(v.status, v.raw) for v in found] == [(Status.OK, 6), (Status.OK, -2), (Status.OK, 6)]
    assert found[1].score == 0
    assert "1 of 1 answers count as the worst: no answer" in found[1].explanation
    assert "where a plain text has one" in found[1].explanation


def test_an_answer_that_is_cut_off_only_there(chat_server):
    def answer(body, number):
        chat_server.finish_reason = "length" if section(prompt_of(body), "ATTEMPT") == "bad" else "stop"
        return ruling("6")(body, number)

    chat_server.answer = answer
    found = verdict(chat_server, "bad", concurrency=1)
    assert (found.status, found.score) == (Status.OK, 0)
    assert "cut off at max_tokens = 1024" in found.explanation


def test_structured_answers_are_no_other(chat_server):
    chat_server.answer = lambda body, n: (
        "{" if "bad" in section(prompt_of(body), "ATTEMPT") else structured("6")(body, n)
    )
    assert verdict(chat_server, "bad", structured=True).score == 0
    assert verdict(chat_server, "good", structured=True).raw == 6


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_is_no_fault_of_the_attempt(chat_server, status):
    chat_server.answer = about("bad", lambda body, number: (status, "no", {}))
    found = verdict(chat_server, "bad")
    assert (found.status, found.score) == (Status.ERROR, None)
    chat_server.answer = lambda body, n: (status, "", {}) if PLAIN_ATTEMPT in prompt_of(body) else "rambling"
    found = verdict(chat_server, "bad")
    assert (found.status, found.score) == (Status.ERROR, None)
    assert f"status {status}" in found.explanation


def test_a_server_that_cannot_be_reached_is_no_fault_of_the_attempt(chat_server):
    found = judge(chat_server, url="http://127.0.0.1:9/v1").verify_all([(task_of(), says("x"))])
    assert [(v.status, v.score) for v in found] == [(Status.ERROR, None)]
    assert "cannot be reached" in found[0].explanation


def test_a_judge_that_rambles_on_everything_gives_nobody_a_zero(chat_server):
    chat_server.answer = lambda body, number: "I like it."
    found = judge(chat_server).verify_all([(task_of(), says(str(n))) for n in range(5)])
    assert {(v.status, v.score) for v in found} == {(Status.ERROR, None)}
    assert all("raise max_tokens (1024), set structured = true, or take another judge" in v.explanation for v in found)
    assert len(chat_server.bodies) == 5 * 3 + 3  # the plain attempt is asked about once for all


def test_a_task_that_makes_the_judge_ramble_is_no_fault_of_its_attempts(chat_server):
    chat_server.answer = lambda body, n: (
        "?" if "odd" in section(prompt_of(body), "REFERENCE ANSWER") else ruling("6")(body, n)
    )
    attempts = [(task_of(gold=gold), says("4")) for gold in ("odd", "even")]
    found = judge(chat_server, reference="gold").verify_all(attempts)
    assert [(v.status, v.raw) for v in found] == [(Status.ERROR, None), (Status.OK, 6)]


def test_a_slow_server_is_no_fault_of_the_attempt(chat_server):
    """The plain attempt is answered in time, but takes more than half of it."""
    chat_server.answer = about("long", lambda body, n: time.sleep(1) or "", otherwise="6")
    quick = chat_server.answer
    chat_server.answer = lambda body, n: time.sleep(0.35) or quick(body, n)
    found = verdict(chat_server, "long", timeout=0.6)
    assert (found.status, found.score) == (Status.TIMEOUT, None)
    assert "a plain text takes too long as well: raise timeout, or lower concurrency" in found.explanation


def test_many_that_take_all_the_time_leave_the_rest_unharmed(chat_server):
    chat_server.answer = about("bad", lambda body, number: time.sleep(0.7) or "late")
    texts = [f"bad {n}" for n in range(20)] + ["good"] * 3
    found = judge(chat_server, timeout=0.5, concurrency=10).verify_all([(task_of(), says(t)) for t in texts])
    assert [(v.status, v.score) for v in found[:20]] == [(Status.OK, 0)] * 20
    assert [v.raw for v in found[20:]] == [6] * 3


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, "'max_tokens' is too large"),
        (402, "insufficient credits"),
        (403, "or the API key in the environment variable JOURNEYMAN_JUDGE_API_KEY"),
        (422, "response_format"),
    ],
)
def test_what_is_refused_to_all_is_the_users_to_put_right(chat_server, status, why):
    chat_server.answer = lambda body, number: (status, why, {})
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        judge(chat_server, max_tokens=9999).verify_all([(task_of(), says("4")), (task_of("5"), says("5"))])
    assert "check the options model, max_tokens (9999), temperature (0) and structured" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_that_is_refused_is_no_reason_to_stop(chat_server):
    chat_server.answer = lambda body, n: (
        (400, TOO_LONG, {}) if "x" in section(prompt_of(body), "TASK") else ruling("6")(body, n)
    )
    long = replace(task_of(), prompt=(Message("user", "x" * 99),))
    found = judge(chat_server).verify_all([(long, says("4"))])
    assert [(v.status, v.score) for v in found] == [(Status.ERROR, None)]
    assert "it refuses a plain text at the same task as well" in found[0].explanation
