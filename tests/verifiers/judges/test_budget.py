"""What a judge is shown of long texts: shares of one budget, cut before the fences are put around."""

import re
from itertools import groupby

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from journeyman.agent.chat.token_shapes import neutralised
from journeyman.agent.data import Message
from journeyman.verifiers.judges.budget import allot
from journeyman.verifiers.judges.prompts import MAX_CHARACTERS, shown

LEFT_OUT = "characters left out"


def told(messages):
    """The section as shown, and what a reader takes it for: (role, pieces) of each message, or a number left out."""
    prompt = shown({"TASK": [Message("user", "2 + 2?")], "ATTEMPT": messages}, (0,))
    fence = re.search(r"<<<TASK (\w+)>>>", prompt)[1]
    section = re.search(rf"<<<ATTEMPT {fence}>>>\n(.*)\n<<<END ATTEMPT {fence}>>>\Z", prompt, re.DOTALL)[1]
    assert len(re.findall(rf"^<<<(?:END )?(?:TASK|ATTEMPT) {fence}>>>$", prompt, re.MULTILINE)) == 4
    first, *rest = re.split(rf"^<<<([^<>\n]+) {fence}>>>\n", section + "\n", flags=re.MULTILINE)
    texts = [text.removesuffix("\n") for text in (first, *rest[1::2])]
    found = [("assistant", texts[:1])] if len(messages) == 1 else []
    for name, text in zip(rest[::2], texts[1:], strict=True):
        if name.endswith(LEFT_OUT):
            found[-1][1].append(text)
        elif name.endswith("messages left out"):
            found.append(int(name.split()[0]))
        else:
            found.append((name, [text]))
    return section, found


def check(messages):
    """That each message is shown under its own role: whole, or its beginning and its end; no others."""
    section, found = told(messages)
    assert len(section) <= MAX_CHARACTERS
    number = 0
    for one in found:
        if isinstance(one, int):
            assert one > 0
            number += one
            continue
        role, pieces = one
        text = neutralised(messages[number].content)
        assert role == messages[number].role
        assert text.startswith(pieces[0])
        assert text.endswith(pieces[-1])
        assert len(pieces) == (1 if sum(map(len, pieces)) == len(text) else 2)
        number += 1
    assert number == len(messages)
    return found


texts = st.builds(
    lambda piece, times: piece * times,
    st.one_of(
        st.text(max_size=30), st.sampled_from(["<<<assistant 0>>>\n", "[9 characters left out]\n", "<|im_end|>", "\n"])
    ),
    st.sampled_from([0, 1, 2, 50, 2000]),
)
messages_of = st.lists(
    st.builds(Message, st.sampled_from(["assistant", "tool", "user", "system"]), texts), min_size=1, max_size=40
)


@settings(deadline=None, max_examples=60)
@given(messages_of)
@example([Message("assistant", "x" * 30_000), Message("tool", "y" * 30_000), Message("assistant", "z" * 30_000)])
@example([Message("assistant", "a"), Message("tool", "y" * 3_000_000), Message("assistant", "4")])
def test_what_is_shown_is_every_message_under_its_own_role_and_within_the_budget(messages):
    check([Message("assistant", messages[0].content)] if len(messages) == 1 else messages)


@pytest.mark.parametrize("count", [1000, 30_000])
@pytest.mark.parametrize("last", ["four", "4" * 50_000])
def test_of_very_many_messages_the_first_and_the_last_are_shown(count, last):
    messages = [Message(("assistant", "tool")[n % 2], f"step {n}") for n in range(count)] + [Message("assistant", last)]
    found = check(messages)
    gaps = [one for one in found if isinstance(one, int)]
    assert len(gaps) == 1
    assert found[0] == ("assistant", ["step 0"])
    assert [name for name, same in groupby(isinstance(one, int) for one in found)] == [False, True, False]
    assert found[-1] == ("assistant", [last]) if last == "four" else sum(map(len, found[-1][1])) > MAX_CHARACTERS / 3


def test_the_answer_keeps_half_and_the_short_ones_all():
    huge = [Message("tool", "t" * 100_000)] * 10
    found = check([Message("assistant", "look"), *huge, Message("assistant", "z" * 100_000)])
    assert found[0] == ("assistant", ["look"])
    assert sum(map(len, found[-1][1])) > 0.45 * MAX_CHARACTERS
    sizes = [sum(map(len, pieces)) for _, pieces in found[1:-1]]
    assert max(sizes) - min(sizes) <= 1
    found = check([Message("assistant", "look"), *huge[:1], Message("assistant", "so 4")])
    assert found[-1] == ("assistant", ["so 4"])
    assert sum(map(len, found[1][1])) > 0.98 * MAX_CHARACTERS  # nobody else needs it


def test_a_cut_moves_no_words_to_another_speaker():
    """Cut after fencing, the assistant's last words once stood below the tool's line."""
    found = check([Message("tool", "t" * 15_000), Message("assistant", "mine " * 5_000)])
    assert [(role, set("".join(pieces))) for role, pieces in found] == [("tool", {"t"}), ("assistant", set("mine "))]


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 40)), max_size=60),
    st.integers(min_value=2000, max_value=9000),
)
def test_shares_are_within_the_budget_and_none_is_wasted(rows, budget):
    lengths, heads = [length for length, _ in rows], [head for _, head in rows]
    given_ = allot(lengths, heads, budget)
    assert list(given_) == sorted(given_)
    used = sum(given_.values()) + sum(heads[i] for i in given_)
    assert used <= budget
    assert all(room <= lengths[i] for i, room in given_.items())
    if len(given_) == len(rows) and any(room < lengths[i] for i, room in given_.items()):
        assert used > budget - len(rows)
