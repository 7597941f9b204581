"""Boxes that are one answer, and boxes that are none."""

import pytest

from journeyman.verifiers.answers.find import find

JOINED = r"""\[ \boxed{2} \quad \text{and} \quad \boxed{3} \]
\[ \boxed{2}\ \text{and}\ \boxed{3} \]
\[ \boxed{2},\ \boxed{3} \]
\boxed{2}\,,\;\boxed{3}
\boxed{2};\ \boxed{3}
\boxed{2}, \\ \boxed{3}
\boxed{2} \qquad \mbox{and} \qquad \boxed{3}
\boxed{2}\mathrm{\ and\ }\boxed{3}
\boxed{2}~\text{and}~\boxed{3}
\boxed{2} & \text{and} & \boxed{3}
\(\boxed{2}\) and \(\boxed{3}\).
$\boxed{2}$, and also $\boxed{3}$
$x = \boxed{2}$ and $x = \boxed{3}$
$x_1 = \boxed{2}$, $x_2 = \boxed{3}$
\boxed{2} \text{ for part (a) and } \boxed{3}
\boxed{2} \hspace{1em} \textit{and} \hspace{1em} \boxed{3}
\boxed{2} \; \& \; \boxed{3}
\boxed{2} \land \boxed{3}
\begin{align*} x &= \boxed{2} \\ x &= \boxed{3} \end{align*}
\boxed{2} papers and \boxed{3} bins
Earlier \boxed{7}. Now \boxed{2} and \boxed{3}"""


@pytest.mark.parametrize("text", [*JOINED.splitlines(), "$\\boxed{2}$ and\n$\\boxed{3}$", "\\boxed{2},\n\\boxed{3}"])
def test_boxes_joined_in_any_way_are_one_answer(text):
    assert find(text, "auto") == find(text, "boxed") == "2, 3"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{2}\text{ or }\boxed{3}", "2 or 3"),
        (r"either \boxed{2} \quad\text{or}\quad \boxed{3}", "2 or 3"),
        (r"\boxed{1},\quad\boxed{2},\quad\text{and}\quad\boxed{3}", "1, 2, 3"),
        (r"$x = \boxed{2}$ and $y = \boxed{3}$", "x = 2, y = 3"),
        (r"\boxed{2} \lor \boxed{3}", "2 or 3"),
        (r"\begin{align*} x &= \boxed{2} \\ y &= \boxed{3} \end{align*}", "x = 2, y = 3"),
        (r"\begin{align*} x &= \boxed{4+5} \\ &= \boxed{9} \end{align*}", "9"),
        (r"\boxed{2}. Then \boxed{3}", "3"),
        (r"I thought \boxed{2}, but \boxed{3}", "3"),
        (r"\boxed{2} \boxed{3}", "3"),
        (r"\boxed{\boxed{8}}", "8"),
        (r"x = -\boxed{3}", "-3"),
        (r"So - \boxed{3}", "3"),
        (r"\boxed{2}+\boxed{3}", ""),
        (r"from \boxed{2} to \boxed{3}", ""),
        (r"\boxed{2} < x < \boxed{3}", ""),
        (r"\boxed{2}:\boxed{3}", ""),
        (r"between \boxed{2} and \boxed{3}", ""),
        (r"neither \boxed{2} nor \boxed{3}", ""),
        (r"\boxed{2} and not \boxed{3}", ""),
        (r"\boxed{3}? No.", ""),
        (r"\boxed{3", ""),
        (r"\boxed{}", ""),
    ],
)
def test_what_several_boxes_say(text, answer):
    assert find(text, "auto") == find(text, "boxed") == answer
