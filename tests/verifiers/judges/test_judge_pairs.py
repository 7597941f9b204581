"""The judge on pairs: positions swapped, halves for ties, no half of a pair."""

import pytest
from judging import judge, prompt_of, ruling, says, section, task_of, verdict

from journeyman.agent.data import Status


def better(wanted):
    """A judge that finds the attempt that says `wanted` better, and else a tie."""

    def choice(prompt):
        a, b = wanted in section(prompt, "ATTEMPT A"), wanted in section(prompt, "ATTEMPT B")
        return "TIE" if a == b else "A" if a else "B"

    return choice


@pytest.mark.parametrize(("wanted", "score"), [("good", 1), ("gold", 0), ("nothing", 0.5), ("go", 0.5)])
def test_pairwise_compares_with_the_reference_in_both_orders(chat_server, wanted, score):
    chat_server.answer = ruling(better(wanted))
    found = verdict(chat_server, "good", task_of("gold"), mode="pairwise", samples=2)
    assert (found.status, found.score, found.expected) == (Status.OK, score, "gold")
    orders = [section(prompt_of(body), "ATTEMPT A") for body in chat_server.bodies]
    assert sorted(orders) == ["gold", "gold", "good", "good"]


@pytest.mark.parametrize("position", ["A", "B"])
def test_a_judge_that_goes_by_position_gives_a_half(chat_server, position):
    chat_server.answer = ruling(position)
    assert verdict(chat_server, "good", mode="pairwise", samples=3).score == 0.5
    assert [v.score for v in judge(chat_server).compare_all([(task_of(), says("x"), says("y"))])] == [0.5]


def test_a_pair_that_lacks_an_order_is_left_out_whole(chat_server):
    chat_server.answer = lambda body, n: (
        (500, "", {}) if section(prompt_of(body), "ATTEMPT A") == "good" else ruling("A")(body, n)
    )
    found = verdict(chat_server, "good", mode="pairwise")  # the readable half alone would be a 0
    assert (found.status, found.score) == (Status.ERROR, None)


def test_an_attempt_that_makes_the_judge_ramble_loses_there(chat_server):
    chat_server.answer = lambda body, n: (
        "?" if section(prompt_of(body), "ATTEMPT A") == "good" else ruling("B")(body, n)
    )
    found = verdict(chat_server, "good", mode="pairwise")  # it wins as B
    assert (found.status, found.score, found.extracted) == (Status.OK, 0.5, "B")
    chat_server.answer = lambda body, n: "?" if "good" in prompt_of(body) else ruling("TIE")(body, n)
    found = verdict(chat_server, "good", mode="pairwise", samples=2)
    assert (found.status, found.score, found.extracted) == (Status.OK, 0, None)
    assert "4 of 4 answers count as the worst" in found.explanation


@pytest.mark.parametrize(
    ("one", "other", "score"), [("bad", "x", 0), ("x", "bad", 1), ("x", "y", 0.5), ("bad", "bad too", None)]
)
def test_of_two_attempts_the_one_that_makes_the_judge_ramble_loses(chat_server, one, other, score):
    chat_server.answer = lambda body, n: "?" if "bad" in prompt_of(body) else ruling("TIE")(body, n)
    (found,) = judge(chat_server).compare_all([(task_of(), says(one), says(other))])
    assert found.score == score
    assert found.status is (Status.ERROR if score is None else Status.OK)  # of two it cannot be told which


def test_pairwise_abstains_without_a_reference(chat_server):
    assert verdict(chat_server, "x", task_of(None), mode="pairwise").status is Status.ABSTAIN
    found = verdict(chat_server, "x", mode="pairwise", reference="gold")
    assert (found.status, found.explanation) == (Status.ABSTAIN, "the task has no reference answer 'gold'")
    assert chat_server.bodies == []


def test_two_attempts_are_compared(chat_server):
    chat_server.answer = ruling(better("good"))
    pairs = [
        (task_of(), says("good"), says("bad")),
        (task_of(), says("bad"), says("good")),
        (task_of(), says("a"), says("b")),
    ]
    assert [v.score for v in judge(chat_server, samples=2).compare_all(pairs)] == [1, 0, 0.5]
    before = len(chat_server.bodies)
    chat_server.answer = lambda body, n: ruling("A" if n == before else "TIE")(body, n)
    (found,) = judge(chat_server, concurrency=1).compare_all(pairs[:1])
    assert (found.score, found.raw) == (1, 0.75)
