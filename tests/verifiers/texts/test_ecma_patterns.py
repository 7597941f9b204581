r"""Expressions of ECMA-262 (Unicode mode): what they match, and what is refused with which remedy."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.verifiers.texts.ecma_patterns import compiled


@pytest.mark.parametrize(
    ("expression", "found", "not_found"),
    [
        (r"^\d{3}$", ["123"], ["١٢٣", "12", "123\n", "1234"]),
        (r"^\D$", ["a", "١", "\n"], ["1"]),
        (r"^\w+$", ["aZ_09"], ["é", "a-", ""]),
        (r"^\W$", ["é", "-", "\u212a"], ["a", "_", "0"]),
        (r"^[\W_]+$", ["_é-"], ["a"]),
        (
            r"^\s$",
            list("\t\n\v\f\r \xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"),
            ["\x85", "\u200b", "\x1c"],
        ),
        (r"^[\S]$", ["a", "\x85", "\u180e"], [" ", "\ufeff"]),
        (r"\bé", ["aé"], ["é", " é"]),
        (r"\Ba", ["ba"], ["a", "éa"]),
        (r"^[\b]$", ["\b"], ["b"]),
        (r"a$", ["ba"], ["a\n", "ab"]),
        (r"^a", ["ab"], ["b\na"]),
        (r"^.$", ["a", "\x85", "\v", "🐲"], ["\n", "\r", "\u2028", "\u2029", ""]),
        (r"^[^]$", ["\n", "🐲"], [""]),
        (r"[]", [], ["", "a"]),
        (r"^[^a]$", ["\n", "b"], ["a"]),
        (r"^\p{L}$", ["a", "é", "猫"], ["1", "-"]),
        (r"^\p{Letter}\p{Lu}\p{gc=Nd}\p{General_Category=Decimal_Number}\p{digit}$", ["éÉ1١৪"], ["éé1١৪"]),
        (r"^\P{L}+$", ["1-"], ["a"]),
        (r"^[\p{L}\d]+$", ["é1"], ["é١", "-"]),
        (r"^[^\p{L}]$", ["1"], ["é"]),
        (r"[^\p{L}\P{L}]", [], ["1", "é"]),
        (r"^[^\P{L}a]$", ["é"], ["a", "1"]),
        (r"^\p{Script=Greek}+$", ["αβγ"], ["abc"]),
        (r"^\p{sc=Cyrl}\p{Script_Extensions=Latin}\p{scx=Grek}$", ["жaα"], ["aaa"]),
        (r"^\p{ASCII}\p{Any}\p{Assigned}$", ["a猫1"], ["é猫1"]),
        (r"^\p{Alphabetic}\p{Uppercase}\p{White_Space}\p{Emoji_Presentation}$", ["éÉ 😀"], ["éé 😀"]),
        (r"^\cC\cj\t\n\v\f\r\0$", ["\x03\n\t\n\v\f\r\0"], ["cC"]),
        (r"^\x41\u0042\u{43}\u{1F432}$", ["ABC🐲"], ["ABC"]),
        (r"^\ud83d\uDC32+$", ["🐲🐲"], ["🐉"]),
        (r"^[\uD83D\uDC32-\u{1F440}]$", ["🐳"], ["🐰", "\ud83d"]),
        (r"^🐲*$", ["", "🐲🐲"], ["🐉", "D"]),
        (r"^\ud83d$", ["\ud83d"], ["🐲"]),
        (r"^a\/b\-c\@\.\$\{\}$", ["a/b-c@.${}"], ["a/b"]),
        (r"^{.*}$", ["{a}"], ["a"]),
        (r"^a{,2}]$", ["a{,2}]"], ["aa]"]),
        (r"^a{2}b{1,}c{0,1}?$", ["aab", "aabbc"], ["ab", "aabcc"]),
        (r"^(?:ab|cd)+?$", ["abcd"], ["abc"]),
        (r"(?<=\$\d*)5", ["$5", "$125"], ["5"]),
        (r"(?<!a)b(?!c)(?=d)", ["xbd"], ["abd", "xbc"]),
        (r"^(?<year>\d{4})-\k<year>-\1$", ["2020-2020-2020"], ["2020-2021-2020"]),
        (r"^(?:(a)|b)\1c$", ["bc", "aac"], ["ac"]),
        (r"^\1(a)\k<n>(?<n>b)$", ["ab"], ["aabb"]),
        (r"^(a\1)$", ["a"], ["aa"]),
        (r"^[[a]$", ["[", "a"], ["[a]", "b"]),
        (r"^[a&&b||~~]+$", ["a&|~b"], ["c"]),
        (r"^[\w-x][a-\d-]$", ["-a", "x-", "_5"], [".a"]),
        (r"^[\-\]\\^a-c]+$", ["-]\\^b"], ["d"]),
        (r"(?:)a||b", ["", "a"], []),
    ],
)
def test_matches(expression, found, not_found):
    assert [text for text in [*found, *not_found] if compiled(expression).search(text)] == found


@pytest.mark.parametrize(
    ("expression", "place", "why"),
    [
        (r"a\Z", 3, r"'\\Z' means nothing: use $"),
        (r"\Aa", 2, r"'\\A' means nothing: use ^"),
        (r"\a", 2, r"'\\a' means nothing: use \x07"),
        (r"\q", 2, r"'\\q' means nothing: take the backslash away, or write two for the character"),
        ("a\\", 3, r"'\\' means nothing: take the backslash away, or write two for the character"),
        (r"[\1]", 3, r"'\\1' means nothing"),
        (r"\01", 2, r"'\\0' means nothing"),
        (r"\u12", 2, r"'\\u' means nothing"),
        (r"\u{110000}", 11, "'u{110000}' is beyond Unicode's last character, 10FFFF"),
        (r"\p{Greek}", 2, r"write a script as \p{Script=Greek}"),
        (r"\p{Foo}", 2, r"no property 'Foo': write e.g. \p{L}, \p{Letter} or \p{Script=Greek}"),
        (r"\p{lu}", 2, "no property 'lu'"),
        (r"\p{Script=Foo}", 2, "no property 'Script=Foo'"),
        (r"[\pL]", 3, r"write a property in braces, as in \p{L}"),
        ("(?i)a", 1, "'(?' begins no group: leave flags out"),
        ("(?P<a>b)", 1, "write a named group as (?<name>...)"),
        ("(?<a>x)(?<a>y)", 1, "two groups have one name"),
        (r"\k<a>", 2, "there is no group 'a': name or count the groups anew"),
        (r"(a)\2", 5, "there is no group '2'"),
        (r"\k", 2, r"write a reference to a group as \k<name>"),
        ("a++", 3, r"'+' repeats nothing: write \+ for the character"),
        ("*", 1, r"'*' repeats nothing: write \* for the character"),
        ("^*", 2, "'*' repeats nothing"),
        ("(?=a)*", 6, "'*' repeats nothing"),
        ("a{2,1}", 2, "'{2,1}' has its smaller number last"),
        ("[z-a]", 5, "a range has its smaller end last"),
        ("[a", 3, r"a class is not closed: add ], or write \[ for the character"),
        ("(a", 3, r"a bracket is not closed: add ), or write \( for the character"),
        ("a)", 2, r"a bracket was not opened: write \) for the character"),
    ],
)
def test_what_is_no_expression_is_refused_in_a_line(expression, place, why):
    with pytest.raises(ValueError) as caught:
        compiled(expression)
    message = str(caught.value)
    assert message.startswith(f"expression {expression!r}, at character {place}: {why}")
    assert "\n" not in message


def test_more_than_can_be_asked_for_is_refused_too():
    with pytest.raises(ValueError, match=r"expression 'a\{99999999999\}': repeat count too big .*; ask for less of it"):
        compiled("a{99999999999}")
    with pytest.raises(ValueError, match="too many brackets inside one another; ask for less"):
        compiled("(" * 1000 + ")" * 1000)


@given(st.text(), st.text())
def test_a_text_without_special_characters_finds_itself_alone(text, other):
    escaped = "".join(rf"\u{{{ord(char):x}}}" if char.isascii() else char for char in text)
    assert (compiled(escaped).search(other) is not None) == (text in other)
    assert compiled(f"^{escaped}$").search(text) is not None


@given(st.text(alphabet=r"ab01\[](){}?*+^$|.-,:=!<>dwsbBkpPLux&~"))
def test_any_text_is_translated_or_refused(text):
    try:
        found = compiled(text)
    except ValueError as error:
        assert str(error).startswith("expression ")  # noqa: PT017 - either way is right
    else:
        found.search("ab01", timeout=1)


@given(st.text(alphabet="ab(|)*+?", max_size=12), st.text(alphabet="ab", max_size=6))
def test_what_both_have_means_the_same_as_in_python(expression, text):
    try:
        ours = compiled(expression)
    except ValueError:
        return
    assert (ours.search(text) is not None) == (re.search(expression, text) is not None)
