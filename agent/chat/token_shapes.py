"""Texts that others wrote, made safe to show to a model whose tokenizer is not known.

What has the shape of a control token of any model is written with other brackets, and characters that no reader sees
are left out. A reader, human or model, still sees what was written: `<|im_end|>` becomes `‹|im_end|›`, and `restored`
turns it back.

Shapes are by what vocabularies and chat templates hold: `<|...|>`, `<word>`, `</word>`, `<word=x>`, `<[word]>`,
`<<SYS>>`, `>>TITLE<<`, `[WORD]`, `[/word]`, `[|word|]`, `]~b]`, `{{word}}`, `|||WORD|||`, full-width forms included.
Comparisons, indices, types, HTML elements and C++'s headers are none. No tokenizer has the brackets that are put
instead, and none makes the old ones of them (they are their own compatibility forms).
"""

from __future__ import annotations

import re
import unicodedata

_LEFT, _RIGHT, _BAR = "[<＜﹤]", "[>＞﹥]", "[|｜]"
_OPEN, _CLOSE = r"[\[［﹇]", r"[\]］﹈]"
_WORD = r"[\w▁]{1,80}(?:[-=/|｜:~@][\w▁]{1,80}){0,8}"
_SHAPE = re.compile(
    rf"""(?=(
        {_LEFT}{_BAR}(?:\W|[^\s<>‹›⟦⟧]{{2,80}}|\w{{2,40}}(?:[ ]\w{{2,40}}){{1,5}}){_BAR}{_RIGHT}
      | {_LEFT}{_BAR}?[/!?\#@~\[［({{]{{0,2}}(?P<tag>{_WORD}(?:=[\w▁./:-]{{1,80}})?)[/!?~\]］)}}]{{0,2}}{_BAR}?{_RIGHT}
      | {_LEFT}:{{2,8}}{_RIGHT}
      | {_OPEN}{_BAR}(?:{_WORD}){_BAR}{_CLOSE}
      | {_OPEN}(?P<square>/?@?{_WORD}@?){_CLOSE}
      | \](?:~!?\w{{1,12}}|\w{{1,12}}~)[\]\[] | \[(?:~!?\w{{1,12}}|\w{{1,12}}~)\[ | \]<\] | \[>\[
      | {_RIGHT}{{2}}[A-Za-z_]{{2,24}}{_LEFT}{{2}}
      | [{{｛﹛︷]{{2}}[-~\#/^&!]?[ ]?[A-Za-z_][\w.]{{1,40}}[ ]?[-~]?[}}｝﹜︸]{{2}}
      | [{{｛﹛︷]%[^%\n]{{1,80}}%[}}｝﹜︸]
    ))""",
    re.VERBOSE,
)
_BARRED = re.compile(rf"{_BAR}{{3}}[A-Z_]{{3,40}}{_BAR}{{3}}|{_BAR}[A-Z_]{{6,40}}{_BAR}|｜[\w▁]{{2,40}}｜")
_FENCE = re.compile(rf"{_LEFT}{{3,}}|{_RIGHT}{{3,}}")

_HTML = """a abbr address area article aside b base bdi bdo big blockquote body br button canvas caption center circle
    cite code col colgroup dd del details dfn dialog div dl dt em fieldset figcaption figure font footer form g h1 h2
    h3 h4 h5 h6 head header hgroup hr html i iframe input ins kbd label legend li link main mark math menu meta
    meter nav noscript ol optgroup option p path picture polygon pre progress q rect rp rt ruby samp script
    section select small source span strike strong style sub summary sup svg table tbody td textarea tfoot th
    thead time title tr track tt u ul var wbr"""
_TYPES = """any auto bool boolean byte char character double float integer int long never number short signed size_t str
    string unsigned void isize usize Boolean Byte Character Double Float Integer Long Number Object Short String"""
_HEADERS = """algorithm array bitset cassert cctype chrono climits cmath complex cstddef cstdint cstdio cstdlib cstring
    ctime deque fstream functional iomanip ios iostream iterator limits list map memory mutex numeric optional ostream
    istream queue random regex set sstream stack stdexcept string_view thread tuple unordered_map unordered_set utility
    valarray variant vector"""
_ORDINARY = frozenset(f"{_HTML} {_TYPES} {_HEADERS}".split())
"""Between angle brackets, no control token of any model."""
_SIZED_TYPE = re.compile(r"u?int\d+(?:_t)?|[iuf]\d{1,3}")
_CAPITALS = re.compile(r"[a-z]{0,2}[A-Z][A-Z0-9_▁]{1,}(?:[:=~@]\w+)?")
_KNOWN_WORD = re.compile(
    r"(?:un)?used\w*\d|control_?\d+|reserved\w*\d|special\w*\d|extra_id_\d+|multimodal|\w+=\w+"
    r"|(?:System|User|Human|Assistant|Tool|Bot|Model|Inst|Think)"
)

_LOOKALIKES = {"<": "‹", ">": "›", "[": "⟦", "]": "⟧", "{": "❴", "}": "❵", "|": "¦", "｜": "❘"}
_FORMS = {"<": "＜﹤", ">": "＞﹥", "[": "［﹇", "]": "］﹈", "{": "｛﹛︷", "}": "｝﹜︸"}
_BRACKETS = str.maketrans({form: _LOOKALIKES[k] for k, forms in _FORMS.items() for form in k + forms})
_BARS = str.maketrans({k: _LOOKALIKES[k] for k in "|｜"})
_BACK = str.maketrans({v: k for k, v in _LOOKALIKES.items()})

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_JOINER = re.compile("[\u200c\u200d]+")
_LONELY = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])")
"""Joiners that join nothing: words of some scripts and emoji need theirs."""
_BLANK = [(0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164)]
_BLANK += [(0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF)]
"""Characters of no category of their own that show nothing: fillers, joiners of graphemes, selectors of variants."""


class _Seen(dict[int, "str | None"]):
    """For str.translate: None for characters that no reader sees; each is looked up once."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        hidden = unicodedata.category(character)[0] == "C" or any(first <= code <= last for first, last in _BLANK)
        self[code] = None if hidden and character not in "\n\t\u200c\u200d" else character
        return self[code]


_SEEN = _Seen()


def visible(text: str) -> str:
    """The text without characters that no reader sees, each end of a line as a newline."""
    seen = _LINE_ENDS.sub("\n", text).translate(_SEEN)
    return _LONELY.sub("", _JOINER.sub(lambda found: found[0][0], seen))


def neutralised(text: str) -> str:
    """The visible text, without what could be taken for a fence (`<<<`) or for a control token of any model."""
    seen = visible(text)
    pieces, done = [], 0
    for match in _SHAPE.finditer(seen):
        first, end = match.span(1)
        if end > done and _is_token(match):
            pieces += [seen[done:first], seen[max(first, done) : end].translate(_BRACKETS)]
            done = end
    plain = "".join([*pieces, seen[done:]])
    plain = _BARRED.sub(lambda found: found[0].translate(_BARS), plain)
    return _FENCE.sub(lambda found: found[0].translate(_BRACKETS), plain)


def restored(text: str) -> str:
    """The text with the brackets that `neutralised` replaced: what a model wrote that was shown such a text."""
    return text.translate(_BACK)


def _is_token(match: re.Match[str]) -> bool:
    """Whether a shape that code or mathematics may have too is a control token's."""
    if (tag := match["tag"]) is not None:
        return _is_tag(match[1], tag)
    word = match["square"]
    if word is None:
        return True
    return bool(word[0] in "/@" or _CAPITALS.fullmatch(word) or _KNOWN_WORD.fullmatch(word))


def _is_tag(whole: str, word: str) -> bool:
    if len(word) == 1:
        return word == "S" or (word not in _ORDINARY and (word.islower() or whole[1] == "/"))
    longest = max(map(len, re.split("[-=/|｜:~@]", word)))
    if longest == 1 or word.isdigit():
        return False
    return bool(re.search("[|｜]", whole)) or not (word in _ORDINARY or _SIZED_TYPE.fullmatch(word))
