"""Letters of a choice in sentences."""

import pytest

from journeyman.verifiers.answers.choices import letter

CLEAR = r"""Option D is correct.|Option D|option (D)|The correct answer is option (D)|So I choose D|D) 42|**D**
D. 42|d) 42|(D) is the right choice|D is correct|(D)|So the answer is D|Therefore, option D is the correct answer
(D) 42 is the correct answer|Hence, D is the right answer|I would choose option D|I'd go with D
The answer must be D|Thus the correct choice is (D) 42|D is the answer|It's D|Thus option D|We pick D
Option (D) is right|So the correct statement is D|Only D is correct|I select D|Choice D is the correct one
The best answer is D, because 6*7 = 42|Option D is correct, since 5 > 3|The answer is **D) 42**
A triangle has three sides, so D is correct|the correct graph is \({D}\)|Based on this, the answer is $D$|Answer: D
Option D is the most appropriate answer|So option D is clearly correct|My final choice: D"""
UNCLEAR = r"""Option D is not correct|Options C and D are correct|Option D is wrong|Is option D correct?|D or C
D is tempting|I don't think D is correct|If D is correct, then 5 = 6|Not D|I would not choose D|D could be correct
Maybe D is correct|D is incorrect|We rule out D|Everything except D|Neither C nor D|D is the wrong choice
Option D is a triangle|Some say D is correct|C is better than D|Choose C over D|I doubt D is correct|D = 5
D has 5 sides|Let D be the midpoint|The point D is on AB|D is the midpoint of the side
It is false that D is correct|D is the only incorrect choice|Suppose the answer is D|the wrong answer is D
a) C b) D|D is nearly correct|A triangle is correct|A) b) c)|(D)?|d|First I thought D
None of them, D included, is right|D is correct only when n = 5|Option D is correct, or C|D, E"""


@pytest.mark.parametrize("line", CLEAR.replace("\n", "|").split("|"))
def test_a_letter_clearly_given(line):
    assert letter(line.strip("*")) == "D"


@pytest.mark.parametrize("line", UNCLEAR.replace("\n", "|").split("|"))
def test_no_letter_clearly_given(line):
    assert letter(line) is None or line == "d"


def test_articles_and_pronouns_are_no_letters():
    assert letter("A is correct") == "A"
    assert letter("A square is a rhombus, so I choose B") == "B"
    assert letter("I choose C") == "C"
    assert letter("Option I is correct") == "I"
    assert letter("I think so") is None
