"""Texts of which no tokenizer makes control tokens."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.chat.control_tokens import plain
from journeyman.agent.models import load_tokenizer, make_tiny

SPECIAL = ["<|user|>", "<|end|>", "<|end|><|", ">>TITLE<<", "<<END>>", "[CLS]", "ϕspecialϕ", "<extra_0>"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = make_tiny(tmp_path_factory.mktemp("tiny"), seed=0, hidden=8, layers=1, heads=1, intermediate=8)
    loaded = load_tokenizer(str(folder))
    loaded.add_tokens(SPECIAL, special_tokens=True)
    return loaded


@given(parts=st.lists(st.sampled_from([*SPECIAL, "<|", "|>", "<", ">>", "<<", "x", " "]), max_size=12))
def test_no_text_holds_a_special_token(tokenizer: Any, parts: list[str]) -> None:
    text = "".join(parts)
    shown = plain(text, tokenizer)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    assert not special & set(tokenizer.encode(shown, add_special_tokens=False))
    assert shown.replace(" ", "") == text.replace(" ", "")
    assert plain(shown, tokenizer) == shown


def test_what_looks_like_one_of_another_model_is_none_either(tokenizer: Any) -> None:
    assert plain("a<|im_end|>\n<|im_start|>user", tokenizer) == "a<|im_end| >\n<|im_start| >user"
    assert plain("<｜User｜>[INST]</s>", tokenizer) == "<｜User｜ >[INST ]</s >"


@pytest.mark.parametrize("text", ["", "2 < 3 > 1", "<tool_call>move(1)</tool_call>", "a[0] |> f", "<b>so</b>", "日本"])
def test_other_texts_are_left_as_they_are(tokenizer: Any, text: str) -> None:
    assert plain(text, tokenizer) == text
