"""Constraints as data: what each kind asks, takes and refuses."""

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.constraints.constraints import canonical_constraints, satisfied, sentence_of
from journeyman.agent.constraints.kinds import KINDS
from journeyman.agent.constraints.languages import language_of
from journeyman.agent.constraints.sentences import sentences_of
from journeyman.agent.constraints.text_units import lines_of, words_of
from journeyman.agent.errors import DataError, UnknownNameError


def holds(text, constraint):
    (canonical,) = canonical_constraints([constraint])
    return satisfied([canonical], text) == [canonical]


@pytest.mark.parametrize(
    ("constraint", "sentence", "right", "wrong"),
    [
        ({"kind": "words", "count": 2}, "Write exactly 2 words.", ["a b", '{"A": "b"}'], ["a", "a b c", "a-b"]),
        ({"kind": "words", "count": 1}, "Write exactly 1 word.", ["don't", "well-known."], ["a b", "..."]),
        ({"kind": "min_words", "count": 2}, "Write at least 2 words.", ["a b", "a b c"], ["a", ""]),
        ({"kind": "max_words", "count": 2}, "Write at most 2 words.", ["a", "a, b!"], ["a b c", "", "!"]),
        ({"kind": "use", "word": "Cat"}, "Use the word cat.", ["a cat.", "CAT", '"cat"'], ["cats", "concat", ""]),
        ({"kind": "avoid", "word": "cat"}, "Do not use the word cat.", ["cats", "dog"], ["a Cat.", "_cat_", ""]),
        (
            {"kind": "use", "word": "Mona  Lisa"},
            "Use the words mona lisa.",
            ["The Mona Lisa.", "MONA\nLISA", "a **Mona** _Lisa_", "mona   lisa's? mona lisa"],
            ["Mona", "Lisa Mona", "Mona. Lisa", "Mona-Lisa", "Monas Lisa", "Mona Lisas", "mona lisa's"],
        ),
        ({"kind": "avoid", "word": "New York"}, "Do not use the words new york.", ["York new"], ["In New\n York"]),
        (
            {"kind": "uses", "word": "ice cream", "count": 2},
            "Use the words ice cream exactly 2 times.",
            ["Ice cream? Ice\tcream!"],
            ["ice cream", "ice cream ice cream ice cream"],
        ),
        ({"kind": "use", "word": "well-known"}, "Use the word well-known.", ["Well-known!"], ["well known", "well"]),
        ({"kind": "use", "word": "don’t"}, "Use the word don't.", ["Don't", "don’t."], ["dont", "don"]),
        ({"kind": "use", "word": "covid-19"}, "Use the word covid-19.", ["(COVID-19)"], ["covid", "covid-190"]),
        ({"kind": "use", "word": "C++"}, "Use the word c++.", ["In C++, so", "C++"], ["C", "abc++"]),
        ({"kind": "use", "word": "24/7"}, "Use the word 24/7.", ["open 24/7."], ["124/7", "24"]),
        ({"kind": "use", "word": "snake_case"}, "Use the word snake_case.", ["_snake_case_"], ["snake_cases", "case"]),
        ({"kind": "starts_with", "word": "a"}, "Begin with the word a.", ["A b", '{"a": 1}'], ["ab", "b a", ""]),
        ({"kind": "ends_with", "word": "a"}, "End with the word a.", ["b a.", '{"b": "a"}'], ["ba", "a b", ""]),
        ({"kind": "case", "case": "upper"}, "Write in upper case.", ["A B1."], ["A b", "1", ""]),
        ({"kind": "case", "case": "lower"}, "Write in lower case.", ["a b1."], ["A b", "1", ""]),
        (
            {"kind": "json"},
            "Answer in JSON.",
            [
                '"a"',
                " [1]\n",
                "3",
                '```json\n{"a": 1}\n```',
                "\n```JSON\n[1]\n```\n",
                "```\n[1]\n```",
                "~~~json\n1\n~~~",
            ],
            [
                *("a", "{}", "NaN", "[" * 99999 + "1", "1" * 5000, "```js\n[1]\n```", "```jsonc\n[1]\n```"),
                *("Here:\n```json\n[1]\n```", "```json\n[1]\n```\nDone.", "```json\n1\n```\n```json\n2\n```", "`1`"),
            ],
        ),
        ({"kind": "json", "key": "a"}, "Answer in JSON with the key a.", ['{"a": 1}'], ['"a"', '{"A": 1}', '["a"]']),
        ({"kind": "sentences", "count": 2}, "Write 2 sentences.", ["A. B", "a!? b.", "3.5. b"], ["a.", "a. b. c"]),
        ({"kind": "sentences", "count": 1}, "Write 1 sentence.", ["a", "a...", "3.5"], ["a. b", "."]),
        ({"kind": "lines", "count": 2}, "Write 2 lines.", ["a\nb", "\na\n\n b\n"], ["a", "a\nb\nc"]),
    ],
)
def test_kinds(constraint, sentence, right, wrong):
    assert sentence_of(canonical_constraints([constraint])[0]) == sentence
    assert [holds(text, constraint) for text in right] == [True] * len(right)
    assert [holds(text, constraint) for text in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(
    ("constraint", "sentence", "right", "wrong"),
    [
        (
            {"kind": "paragraphs", "count": 2},
            "Write exactly 2 paragraphs, with blank lines between paragraphs.",
            ["a\nb\n\nc", "a\n \n\nb\n\n", "a\r\n\r\nb"],
            ["a\nb", "a\n\nb\n\nc", "a\n\n...", ""],
        ),
        (
            {"kind": "min_parts", "count": 2},
            "Write at least 2 parts, with lines of *** between parts.",
            ["a\n***\nb", "a\n *** \nb\n***\nc"],
            ["a\n\nb", "a *** b", "***\na\n***", "a\n******\nb"],
        ),
        (
            {"kind": "max_uses", "word": "Cat", "count": 1},
            "Use the word cat at most 1 time.",
            ["a cat", "cats"],
            ["Cat cat", ""],
        ),
        ({"kind": "uses", "word": "a", "count": 2}, "Use the word a exactly 2 times.", ["A a"], ["a", "a a a", "an a"]),
        (
            {"kind": "min_letters", "letter": "E", "count": 2},
            "Use the letter e at least 2 times.",
            ["tEe", "eee"],
            ["e", "a"],
        ),
        (
            {"kind": "starts_with_phrase", "phrase": "To  be"},
            "Begin with these words: To be",
            ["To be.", "to\nbe or", "TO BE", "**To be** or", "> To be", "# To be"],
            ["To bed", "Not to be", ""],
        ),
        (
            {"kind": "ends_with_phrase", "phrase": "Any more?"},
            "End with these words and nothing after them: Any more?",
            ["So. Any  more?", "any more?\n", "So. **Any more?**", '"So. Any more?"', "_Any more?_\n"],
            ["Any more", "Many more?", "Any more? No.", "Any more?!", ""],
        ),
        (
            {"kind": "paragraph_starts_with", "paragraph": 2, "word": "so"},
            "Begin paragraph 2 with the word so.",
            ["a\n\nSo b", "a\n\n*so*\n\nb"],
            ["so", "a\nso", "so\n\na", "a\n\nsold"],
        ),
        (
            {"kind": "repeat", "text": "Say it."},
            "First repeat this word for word, then go on: Say it.",
            ["Say it. It.", "say\nit.\n\nb"],
            ["Say it.", "Say it. !", "It. Say it.", "Say it again.", "**Say it.**"],
        ),
        (
            {"kind": "postscript", "marker": "P.S."},
            "At the end add a postscript that begins with P.S.",
            [
                *("a\nP.S. b", "a\n\n p.s.: b\nc", "a\n**P.S.** b", "a\n_P.S._ b", "a\n### P.S.\nb", "a\n> P.S. b"),
                *("a\nP. S. b", "a\n- **P.S.:** b", "a\n(P.S. b)", "a\nP.S. b\nP.S."),
            ],
            ["a P.S. b", "P.S. b", "a\nP.S.", "a\nPS b", "a\nP.P.S. b", "a\nP.S.b", ""],
        ),
        (
            {"kind": "postscript", "marker": "P.P.S"},
            "At the end add a postscript that begins with P.P.S",
            ["a\nP.P.S b", "a\nP.P.S. b", "a\n**P. P. S.** b", "a\n\np.p.s: b"],
            ["a\nP.S. b", "a\nP.P.Star", "P.P.S b"],
        ),
        (
            {"kind": "postscript", "marker": "PS:"},
            "At the end add a postscript that begins with PS:",
            ["a\nPS: b", "a\n*ps:* b"],
            ["a\nPS b", "a\nP.S.: b"],
        ),
        (
            {"kind": "quoted"},
            "Put the whole answer in double quotation marks.",
            ['"a"', ' "a" and "b"\n', "„a“"],
            ["'a'", '"a', 'a"', "a", '"'],
        ),
        (
            {"kind": "capitals", "count": 2},
            "Write exactly 2 words in capitals.",
            ["AI is OK", "A I a", "A-B c. D2"],
            ["Ai is OK", "A B C", "a"],
        ),
        ({"kind": "no_commas"}, "Do not use commas.", ["a b; c"], ["a, b", "猫、犬", "a،", ""]),
        (
            {"kind": "title"},
            "Give it a title in double angular brackets, as in <<this>>.",
            ["<<A sun>>\nb", "a <<b>>", "# **<<A>>**", "<<*A*>>", "<<A < b>>"],
            ["<A>", "<<>> a", "<<\na>>", "<<..>> a"],
        ),
        (
            {"kind": "sections", "marker": "Part", "count": 2},
            "Write exactly 2 sections, each under a heading of Part and its number, as in Part 1.",
            ["Part 1\na\nPart 2\nb", "## Part 1: a\n**Part 2**", "__Part 1__\n> **Part** 2", "Part1\n- *Part 2*:"],
            ["Part 1", "Part 1\nPart 1", "a Part 1\nPart 2", "Part 1\nPart 2\nPart 3", "Part one\nPart two"],
        ),
        (
            {"kind": "bullets", "count": 2},
            "Write exactly 2 bullet points, each a line that begins with a dash or an asterisk and a blank.",
            ["- a\n- b", "x\n  * a\n • *b*", "- **a:** b\n**c**\n- [ ] d", "> - a\n> - b", "- a\n---\n* * *\n- b"],
            ["- a", "**a**\n*b*\n1. c", "*a* b\n-c\nx", "- a\n- b\n- c", "- - -\na\n- b"],
        ),
        (
            {"kind": "highlights", "count": 2},
            "Highlight exactly 2 parts of the text with asterisks, as in *this*.",
            ["*ab* and **c d**", "***ab*** (*cd*)", "- **ab:** c\n> *d*", "这是**重点**和*另一个*。", "_*a*_ **b**,"],
            ["*ab*", "\\*ab\\* \\*cd\\*", "2*3*4 * 5", "* a\n* b", "*a\nb* *ab*", "**** a"],
        ),
        (
            {"kind": "placeholders", "count": 2},
            "Leave exactly 2 placeholders in square brackets, as in [name].",
            ["[a] [b c]"],
            ["[a]", "[] [ ] a", "[[a]", "[a\nb] [c]"],
        ),
        (
            {"kind": "choice", "options": ["My answer is yes.", "My answer is no."]},
            "Answer with one of these and nothing else: My answer is no. | My answer is yes.",
            ["My answer is yes.", " my answer  is NO\n", '"My answer is yes."'],
            ["yes", "My answer is yes. My answer is no.", "My answer is maybe.", ""],
        ),
        (
            {"kind": "answers", "count": 2},
            "Give 2 different answers, with lines of ****** between them.",
            ["a\n******\nb"],
            ["a\n******\nA.", "a ****** b", "a", "a\n******\nb\n******\nc", "a\n***\nb"],
        ),
        (
            {"kind": "language", "language": "german"},
            "Write in German.",
            ["Die Katze saß auf der Matte und sah den Mond an.", "WAS FÜR EIN SCHÖNER TAG, NICHT WAHR?"],
            ["The cat sat on the mat and looked at the moon.", "12 34", ""],
        ),
    ],
)
def test_kinds_of_ifeval(constraint, sentence, right, wrong):
    test_kinds(constraint, sentence, right, wrong)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ar", "جلست القطة على الحصيرة ونظرت إلى القمر."),
        ("bg", "Котката седеше на килима и гледаше луната."),
        ("da", "Katten sad på måtten og kiggede på månen."),
        ("en", "The cat sat on the mat and looked at the moon."),
        ("es", "El gato se sentó en la alfombra y miró la luna."),
        ("fa", "گربه روی حصیر نشست و به ماه نگاه کرد."),
        ("fr", "Le chat est assis sur le tapis et regarde la lune."),
        ("hi", "बिल्ली चटाई पर बैठी और चाँद को देखा।"),
        ("it", "Il gatto era seduto sul tappeto e guardava la luna."),
        ("ja", "猫はマットの上に座って月を見ていた。"),
        ("kn", "ಬೆಕ್ಕು ಚಾಪೆಯ ಮೇಲೆ ಕುಳಿತು ಚಂದ್ರನನ್ನು ನೋಡಿತು."),
        ("ko", "고양이가 매트 위에 앉아 달을 바라보았다."),
        ("nl", "De kat zat op de mat en keek naar de maan."),
        ("no", "Katten satt på matta og så på månen."),
        ("pt", "O gato sentou-se no tapete e olhou para a lua."),
        ("ru", "Кошка сидела на коврике и смотрела на луну."),
        ("sw", "Paka aliketi kwenye mkeka na kutazama mwezi."),
        ("th", "แมวนั่งบนเสื่อและมองดูดวงจันทร์"),
        ("uk", "Кішка сиділа на килимку і дивилася на місяць."),
        ("vi", "Con mèo ngồi trên tấm thảm và nhìn lên mặt trăng."),
        ("zh", "猫坐在垫子上看着月亮。"),
    ],
)
def test_a_sentence_is_enough_to_tell_its_language(code, text):
    assert language_of(text) == code
    assert language_of(text * 2000) == code


def test_all_of_ifeval_can_be_said_and_one_text_can_satisfy_much_of_it():
    text = """<<A DAY>>

Section 1

My cat, Tom, saw the *red sun* and the **sky**. It was fine.

Section 2

- Call [name] at [place]
- Go home

P.S. Is there anything else?"""
    goal = [
        {"kind": "title"},
        {"kind": "sections", "marker": "Section", "count": 2},
        {"kind": "highlights", "count": 2},
        {"kind": "bullets", "count": 2},
        {"kind": "placeholders", "count": 2},
        {"kind": "postscript", "marker": "P.S."},
        {"kind": "ends_with_phrase", "phrase": "Is there anything else?"},
        {"kind": "paragraphs", "count": 6},
        {"kind": "paragraph_starts_with", "paragraph": 3, "word": "my"},
        {"kind": "capitals", "count": 4},
        {"kind": "min_uses", "word": "the", "count": 2},
        {"kind": "language", "language": "English"},
        {"kind": "no_commas"},
    ]
    constraints = canonical_constraints(goal)
    assert [c for c in constraints if c not in satisfied(constraints, text)] == [{"kind": "no_commas"}]


def test_every_kind_has_a_row_in_the_table_of_the_documents():
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs" / "environments.md").read_text()
    table = page.split("| kind | arguments | the text |")[1].split("\n\n")[0]
    assert [kind for kind in KINDS if f"`{kind}`" not in table] == []


def test_the_order_is_canonical_and_repeats_are_dropped():
    some = [{"count": 3, "kind": "words"}, {"kind": "use", "word": "Sun"}, {"kind": "use", "word": "cat"}]
    expected = [{"kind": "use", "word": "cat"}, {"kind": "use", "word": "sun"}, {"kind": "words", "count": 3}]
    for order in permutations(some):
        found = canonical_constraints([*order, {"kind": "use", "word": "SUN"}])
        assert json.dumps(found) == json.dumps(expected)
        assert canonical_constraints(found) == found


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"kind": "word", "count": 3}, "unknown kind of constraint 'word': did you mean 'words'?"),
        ({"kind": "words", "cuont": 3}, "constraint 'words' takes no argument 'cuont': did you mean 'count'?"),
        ({"kind": "words"}, "constraint 'words' lacks its argument 'count'"),
        ({"kind": "words", "count": 0}, "constraint 'words': 'count' must be a whole number of at least 1, got 0"),
        ({"kind": "words", "count": True}, "'count' must be a whole number of at least 1, got True"),
        ({"kind": "lines", "count": "2"}, "'count' must be a whole number of at least 1, got '2'"),
        ({"kind": "use", "word": "..."}, "constraint 'use': 'word' must be a word, or several words, got '...'"),
        (
            {"kind": "ends_with", "word": "two words"},
            "constraint 'ends_with': 'word' must be one word, got 'two words'",
        ),
        ({"kind": "case", "case": "Upper"}, "'case' must be 'upper' or 'lower', got 'Upper'"),
        ({"kind": "json", "key": ""}, "'key' must be text of at least one character, got ''"),
        ({"kind": "answers", "count": 1}, "'count' must be a whole number of at least 2, got 1"),
        ({"kind": "letters", "letter": "ab", "count": 1}, "'letter' must be one letter, got 'ab'"),
        ({"kind": "choice", "options": ["yes"]}, "'options' must be a list of at least two texts, got ['yes']"),
        ({"kind": "choice", "options": ["yes", "Yes"]}, "'options' must be a list of texts that differ"),
        ({"kind": "repeat", "text": "..."}, "'text' must be text with a word in it, got '...'"),
        ({"kind": "postscript", "marker": "P\nS"}, "'marker' must be one line of text, got 'P\\nS'"),
        ({"kind": "language", "language": "Germn"}, "a language by its English name or code (did you mean 'German'?)"),
        ({"kind": "language", "language": None}, "'language' must be a language by its English name or code"),
        ({"count": 3}, "a constraint must be an object with a 'kind'"),
        ("words", "a constraint must be an object with a 'kind'"),
    ],
)
def test_what_is_no_constraint_is_refused(constraint, message):
    with pytest.raises((DataError, UnknownNameError)) as caught:
        canonical_constraints([{"kind": "json"}, constraint])
    assert message in str(caught.value)


@pytest.mark.parametrize("goal", [[], None, {"kind": "json"}, "json"])
def test_what_is_no_list_of_constraints_is_refused(goal):
    with pytest.raises(DataError, match="must be a list with at least one in it"):
        canonical_constraints(goal)


@given(st.text())
def test_any_text_can_be_judged(text):
    count = len(words_of(text))
    goal = [{"kind": kind, "count": max(count, 1)} for kind in ("words", "min_words", "max_words")]
    constraints = canonical_constraints([*goal, {"kind": "json"}, {"kind": "case", "case": "upper"}])
    kept = satisfied(constraints, text)
    assert [c for c in constraints if c in kept] == kept
    assert (len(kept) >= 3) == (count > 0)
    assert (sentences_of(text) > 0) == (lines_of(text) > 0 and count > 0)


EXAMPLES = {
    "word": "a",
    "letter": "a",
    "phrase": "a b",
    "text": "a b",
    "marker": "P.S.",
    "case": "upper",
    "count": 2,
    "paragraph": 2,
    "language": "en",
    "options": ["a", "b"],
}
EVERY_KIND = canonical_constraints(
    [{"kind": name, **{a: EXAMPLES[a] for a in kind.arguments if a != "key"}} for name, kind in KINDS.items()]
)


@given(
    st.text()
    | st.text(alphabet='ab A.\n*-[]<>"#1P S,')
    | st.lists(st.sampled_from(["***", "******", "a b"])).map("\n".join)
)
def test_counts_agree_and_every_kind_judges_any_text(text):
    kept = {c["kind"] for c in satisfied(EVERY_KIND, text)}
    assert kept == {c["kind"] for c in satisfied(EVERY_KIND, text)}
    if not words_of(text):
        assert kept == set()
    for name in KINDS:
        if f"min_{name}" in KINDS and words_of(text):
            assert (name in kept) == ({f"min_{name}", f"max_{name}"} <= kept), name
            assert kept & {f"min_{name}", f"max_{name}"}, name


SIZE = 100_000
HOSTILE = {
    "one word": "a" * SIZE,
    "words": "a " * SIZE,
    "blanks": "a" + " " * SIZE,
    "blank lines": "a\n \t" * SIZE,
    "asterisks": "*" * SIZE + "a",
    "highlights": "*a" * SIZE,
    "bullets": "- " + " " * SIZE + "a",
    "brackets": "[" * SIZE + "a" * SIZE,
    "open brackets": "[a" * SIZE,
    "angles": "<<a" * SIZE,
    "dividers": "***\n" * SIZE + "a",
    "headings": "P.S. 1\n" * SIZE,
    "dots": "." * SIZE + "a",
    "control": "\x00\x1b\u200b\ud800" * SIZE + "a",
    "underscores": "a" + "_" * SIZE,
    "marks": '."' * SIZE + "a",
    "full stops": 'a." ' * SIZE,
    "fences": "`" * (SIZE // 2) + "a" + "`" * (SIZE // 2 - 1) + "a",
    "numbers": "1. " * SIZE,
    "nested JSON": "[" * SIZE + "1" + "]" * SIZE,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_costs_little(text, own_time):
    language_of("a")  # the model is loaded once a process
    for constraint in EVERY_KIND:
        if not constraint["kind"].startswith(("min_", "max_")):
            started = own_time()
            satisfied([constraint], text)
            assert own_time() - started < 0.5, constraint
