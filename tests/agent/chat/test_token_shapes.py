"""Texts for a model whose tokenizer is not known: no vocabulary's control token survives, code and mathematics do."""

from __future__ import annotations

import ast
import json
import re
import time
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.chat.token_shapes import neutralised, restored, visible

TOKENS = re.split(
    r"\s+",
    """<think> </think> <sop> <eop> [gMASK] [sMASK] [|endofturn|] [|assistant|] <|im_end|> <|eot_id|> <|message|>
    <channel|> <|channel> <|turn> <turn|> <|"|> <|0.02|> <start_of_turn> <end_of_turn> <｜Assistant｜>
    <｜tool▁calls▁begin｜> <<SYS>> <</SYS>> [INST] [/INST] [TOOL_CALLS] [THINK] [/THINK] [UNUSED_TOKEN_146] [unused12]
    [control_8] [multimodal] [@BOS@] [toxicity=0] [CLS] [SEP] [PAD] [MASK] [UNK] [GO] <unused12> <extra_id_0> <mask_1>
    <s> </s> <S> <bos> <eos> ▁<eos> <pad> <unk> <0x0A> <0xFF> <tool_call> </tool_call> <function=run> <function=get.it>
    <parameter=x> ｜DSML｜ <｜DSML｜invoke>
    <minimax:tool_call> <seed:bos> <seed:think> <[begin▁of▁sentence]> <[PLHD10_never_used]> ]~b] ]~!b[ [e~[ ]<]image[>[
    <fim_prefix> <fim-prefix> ▁<PRE> <EOT> <BOS_TOKEN> <SPECIAL_11> <reserved_106> <eoh> <ifm|tool_call> <sos/eos>
    <TOKENS_UNUSED_0> <image> <img> </img> <loc0001> <repo_name> <2mass> >>TITLE<< >>fra<< |||EMAIL_ADDRESS|||
    |ENDOFTEXT| |NEWLINE| {{bos_token}} {{messages}} {%-if%} ＜|im_end|＞ <｜im_end｜> ＜think＞ ﹤think﹥ ［INST］
    ｛｛user｝｝ ﹛﹛user﹜﹜ ︷︷user︸︸ <Assistant> [Assistant]""",
)

PLAIN = """a < b and c > d
x[0] + x[i][j] - x[:, 0] * x[-1], a[mask], d[key], [1, 2], [a-z], [A-Za-z], [note], [12], [Smith2020]
List[int], Optional[TreeNode], Dict[str, List[T]], vector<int> v; map<string, int> m; vector<vector<int>> w;
#include <iostream>\n#include <bits/stdc++.h>\n#include <stdio.h>\ncin>>n>>m; cout<<n<<endl;
for(i=0;i<n;i++) if(x>y) a<b>c; static_cast<int64_t>(x), Vec<u8>, Option<T>, Box<[u8]>, List<String>
<div class="x"><b>bold</b><br/></div> <h1>so</h1> <!-- hi --> <a@b.c> <https://x.y/z>
<table><tr><td>1</td></tr></table>
0<x<1, x<n-1>0, 3<5>2, x >> 1, 1<<n, x <- y -> z => <= >= <>, p->a<q->b
|x|<|y| and |z|>|w|, |a|<|b|>|c|, |AB| = 2, x |> f <|> g <| h |> i
\\frac{{a}}{{b}} {x}^{2} \\{1,2\\} {{1,2},{3,4}} f"{x}" $\\left[0, 1\\right)$
def f(x):\n\treturn x << 2 | y >> 1  # "é" ‰ 漢字 👩\u200d🚀 می\u200cخواهم""".splitlines()

UNSEEN = [chr(c) for c in (0x200B, 0x200E, 0x202E, 0x2066, 0x2060, 0xFEFF, 0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4)]
UNSEEN += [chr(c) for c in (0x180B, 0x180E, 0x2800, 0x3164, 0xFFA0, 0xFE00, 0xFE0F, 0xE0041, 0xE0100, 0x1D173, 0xD800)]
UNSEEN += [chr(c) for c in (0x0, 0x7, 0x8, 0x1B, 0x7F, 0x90, 0xE000, 0xFFFE, 0x200C, 0x200D)]


@pytest.mark.parametrize("token", TOKENS)
def test_no_token_survives_wherever_it_stands(token: str) -> None:
    for text in (token, f"4{token}5", f"{token}{token}", f"word {token}\n", f"<{token}>", f"[{token}]", f"x<{token}a>"):
        shown = neutralised(text)
        assert token not in shown, text
        assert unicodedata.normalize("NFKC", token) not in unicodedata.normalize("NFKC", shown), text
        assert neutralised(shown) == shown
        assert len(shown) == len(text)


@pytest.mark.parametrize("token", ["<think>", "<|im_end|>", "[INST]", "<｜User｜>", "{{user}}", "]~b]", "</s>"])
def test_a_reader_sees_what_was_written(token: str) -> None:
    shown = neutralised(f"say {token}")
    assert re.sub(r"\W", "", shown) == re.sub(r"\W", "", f"say {token}")
    assert restored(shown) == f"say {token}"


@pytest.mark.parametrize("text", PLAIN)
def test_code_and_mathematics_are_left_as_they_are(text: str) -> None:
    assert neutralised(text) == text


@pytest.mark.parametrize("unseen", UNSEEN, ids=[f"U+{ord(c):04X}" for c in UNSEEN])
def test_what_no_reader_sees_is_left_out_and_hides_no_token(unseen: str) -> None:
    assert visible(f"a{unseen}b") == "ab"
    assert neutralised(f"<|im_{unseen}end|>") == neutralised("<|im_end|>") == "‹|im_end|›"
    assert neutralised(f"<{unseen}th{unseen * 3}ink{unseen}>") == "‹think›"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_every_end_of_a_line_is_a_newline(end: str) -> None:
    assert visible(f"a{end}b") == "a\nb"


def test_a_fence_is_none() -> None:
    assert neutralised("<<<END ATTEMPT 0>>>") == "‹‹‹END ATTEMPT 0›››"
    assert not re.search("[<＜]{3}|>{3}", neutralised("<\u200b<\u200b< ＜＜＜ <<<<< >>>"))


@settings(deadline=None)
@given(st.lists(st.sampled_from([*TOKENS, *"<>[]{}|｜/~ \n", "x", "think", "\u200b", "\ufe0f", "▁"]), max_size=14))
def test_nothing_put_together_is_a_token(parts: list[str]) -> None:
    shown = neutralised("".join(parts))
    assert not [token for token in TOKENS if token in shown]
    assert neutralised(shown) == shown


def literals() -> set[str]:
    """What stands in brackets in the installed packages' chat templates, tokenizers' code and vocabularies."""
    found: set[str] = set()
    for name, pattern in (("trl", "chat_templates/*.jinja"), ("transformers", "models/*/tokenization_*.py")):
        for file in home(name).glob(pattern):
            text = file.read_text(encoding="utf-8")
            found |= set(re.findall(r"<[^\s<>(){}'\"\\%.*]{1,60}>", text)) if file.suffix == ".jinja" else strings(text)
    return found


def home(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def strings(code: str) -> set[str]:
    constants = (node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant))
    return {s for s in constants if isinstance(s, str) and re.fullmatch(r"▁?[<\[|][^\s\\'\"(){}.*]{1,60}[>\]|]", s)}


def test_no_literal_of_the_installed_packages_survives() -> None:
    found = literals()
    assert {"<|im_start|>", "<think>", "<sop>", "[CLS]", "<s>", "<|eot_id|>", "<｜end▁of▁sentence｜>"} <= found
    assert len(found) > 200
    assert {token for token in found if token in neutralised(f"a{token}b")} <= {"[s]"}  # an index, too


def test_no_special_token_of_mistrals_vocabularies_survives() -> None:
    common = pytest.importorskip("mistral_common", reason="mistral_common, which comes with vLLM, is not installed")
    for file in (Path(common.__file__).parent / "data").glob("tekken*.json"):
        special = json.loads(file.read_text(encoding="utf-8")).get("special_tokens") or []
        assert not [t["token_str"] for t in special if t["token_str"] in neutralised(f"a{t['token_str']}b")]


@pytest.mark.parametrize(
    "piece", ["<", "[", "<a", "<|a", "{{a", "{%", ">>ab", "<a-", "[[", "|||A", "漢", "\u200b", "a\r\n"]
)
def test_it_takes_linear_time(piece: str) -> None:
    started = time.process_time()
    neutralised(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 5
