"""What a model says to the reader: without its thoughts, its chat format's tokens and its programs.

A thought is what stands between the tags of any of the usual formats. One whose opening tag stood in the prompt shows
only its closing one: all before it is thought. One that never closes leaves nothing: the answer was not reached.
"""

from __future__ import annotations

import re

MAX_TEXT = 10_000
"""Characters at the end of what is said in which the answer is looked for."""

_THOUGHT = "think|thinking|thoughts?"
_NAMES = {
    "think": _THOUGHT,
    "reason": "reasoning|reason|rationale",
    "reflect": "reflections?|scratchpad|scratch_pad|analysis|monologue|inner_monologue|cot|chain_of_thought",
    "seed": r"seed:think(?:ing)?",
}
"""Names that close each other."""
_BARS = r"[|｜]"
_THOUGHTS = [
    *((kind, rf"<\s?(?:{names})\s?>", rf"<\s?/\s?(?:{names})\s?>") for kind, names in _NAMES.items()),
    ("square", rf"\[\s?(?:{_THOUGHT})\s?\]", rf"\[\s?/\s?(?:{_THOUGHT})\s?\]"),
    ("triangles", r"◁think▷", r"◁/think▷"),
    ("bars", rf"<{_BARS}(?:begin|start)_?of_?thoughts?{_BARS}>", rf"<{_BARS}end_?of_?thoughts?{_BARS}>"),
    ("thinking", rf"<{_BARS}(?:start_)?thinking{_BARS}>", rf"<{_BARS}(?:end_|/)thinking{_BARS}>"),
    ("bar", rf"<{_BARS}think{_BARS}>", rf"<{_BARS}/think{_BARS}>"),
    ("working", r"<(?:start_working_out|working_out)>", r"<(?:end_working_out|/start_working_out|/working_out)>"),
    ("unused", r"<unused94>", r"<unused95>"),
    (
        "channel",
        r"<\|channel\|>(?:analysis|commentary)\b[^<\n]{0,80}<\|message\|>",
        r"(?:<\|end\|>\s?<\|start\|>assistant\s?)?<\|channel\|>final<\|message\|>",
    ),
]
_ENDS = (
    "im_end|endoftext|end_of_text|eot_id|eom_id|eot|eom|eos|end|return|endofturn|end_of_turn|end_of_turn_token|"
    "end_of_sentence|end▁of▁sentence|user|human|system|observation"
)
_ROLES = r"<\|im_start\|>(?:assistant\b)?|<start_of_turn>(?:model\b)?|<\|start_header_id\|>(?:assistant)?"
_ANSWERS = rf"(?:(?:begin|end)_of_(?:box|solution)){_BARS}"
_SPECIAL = [
    ("stop", rf"<{_BARS}(?:{_ENDS}){_BARS}>|<(?:end_of_turn|eos|eot|eod)>|\[{_BARS}endofturn{_BARS}\]"),
    ("role", _ROLES),
    ("token", rf"<{_BARS}(?!{_ANSWERS})[A-Za-z0-9_▁/-]{{1,40}}{_BARS}>"),
    ("old", r"</?s>|</?(?:eos|bos|pad|unk)>|<(?:reserved_\w{1,20}|unused\d{1,4}|extra_id_\d{1,3}|sop|eop)>"),
    ("wrapper", r"</?(?:output|response|result|conclusion|step|explanation|summary|center|strong|em|span|div)\s?>"),
    ("square", r"\[/?INST\]|\[(?:EOS|BOS|PAD|SEP|CLS|UNK|gMASK)\]"),
]
_KINDS = [
    *(f"(?P<open_{kind}>{opens})|(?P<close_{kind}>{closes})" for kind, opens, closes in _THOUGHTS),
    *(f"(?P<{kind}>{pattern})" for kind, pattern in _SPECIAL),
]
_TAG = re.compile(rf"(?=[<\[◁])(?:{'|'.join(_KINDS)})", re.IGNORECASE)
_FENCE = re.compile(r"\s*(?:```|~~~)[`~]*\s*([\w+#-]*)\s*$")
_PROGRAM = re.compile(
    r"python[23]?|py|cpp|c|c\+\+|java|javascript|js|ts|typescript|sympy|r|ruby|go|rust|sql|bash|sh|matlab|julia|haskell|"
    r"kotlin|swift|php|perl|scala|csharp|c#|lean4?",
    re.IGNORECASE,
)


def spoken(text: str) -> str:
    """The last `MAX_TEXT` characters of what the text says to the reader; empty where it ends within a thought."""
    said: list[str] = []
    at, thought = 0, ""
    for tag in _TAG.finditer(text):
        kind = tag.lastgroup or ""
        if thought:
            if kind == f"close_{thought}":
                thought, at = "", tag.end()
            continue
        part, at = text[at : tag.start()], tag.end()
        if said or part.strip():
            said.append(part)
        if kind.startswith("open_"):
            thought = kind.removeprefix("open_")
        elif kind.startswith("close_"):
            said.clear()
        elif kind in {"stop", "role"} and said:
            return _without_programs(" ".join(said)[-MAX_TEXT:])
    if thought:
        return ""
    said.append(text[at:])
    return _without_programs(" ".join(said)[-MAX_TEXT:])


def _without_programs(text: str) -> str:
    """The text without fences, and without what stands in those of programs."""
    if "```" not in text and "~~~" not in text:
        return text
    lines, fenced, program = [], False, False
    for line in text.split("\n"):
        if fence := _FENCE.match(line):
            fenced = not fenced
            program = fenced and _PROGRAM.fullmatch(fence[1]) is not None
        elif not program:
            lines.append(line)
    return "\n".join(lines)
