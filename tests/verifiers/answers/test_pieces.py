"""Which part of a sentence is the answer."""

import pytest

from journeyman.verifiers.answers.pieces import pieces


@pytest.mark.parametrize(
    ("line", "piece"),
    [
        ("The largest $n$ is 34", "34"),
        ("So the value of $x+y$ is 34.", "34."),
        (r"The maximum number of points in the domain of \(f(x)\) is 19.", "19."),
        (r"the area of $\triangle ABC$ is 34 square units", "34 square units"),
        ("$f(2)$ equals -34", "-34"),
        ("The largest $n$ is therefore **34**", "34**"),
        ("The number of such $n$ is: 34", "34"),
        (r"The cost of $n$ items is \$18", r"\$18"),
        ("If $x=3$, then the value of $x+y$ is 34", "34"),
        (r"the length of $AB$ is \sqrt{2}", r"\sqrt{2}"),
        ("The largest $n$ = 34", "n = 34"),
        ("$34$ is the answer", " 34 "),
        ("So $n = 34$ is the largest", " n = 34 "),
        (r"\[ 2x = 18 \implies x = 9 \]", r" x = 9 \]"),
        (r"the number of orders with the scoop not on the bottom is \(18\)", r"\(18\)"),
        (r"the number of factors of 34 or multiples of 7 is \(6\).", r"\(6\)"),
        (r"the sum of the numbers between 10 and 20 is $75$", " 75 "),
        ("Either $x=2$ or $x=3$.", " x=2  or  x=3 "),
    ],
)
def test_what_a_sentence_says_of_its_mathematics(line, piece):
    assert list(pieces(line)) == [line, piece]


@pytest.mark.parametrize(
    "line",
    [
        "$x$ is 5 and $y$ is 7.",
        "The largest $n$ is not 34.",
        "It is wrong that $n$ is 34.",
        "I doubt that $n$ is 34.",
        "Suppose $n$ is 34.",
        "Nobody says that $n$ is 34.",
        "I am not convinced that $n$ is $34$",
        "It is not the case that it is $34$",
        "It is 3 or it is $34$",
        "Is it $34$?",
        "Perhaps, it is $34$.",
        "Maybe, the largest $n$ is 34.",
        "Possibly, it is 34.",
        "$34$ is wrong",
    ],
)
def test_what_is_denied_or_doubted_is_no_piece(line):
    assert list(pieces(line)) == [line]
