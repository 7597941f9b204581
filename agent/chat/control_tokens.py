"""Control tokens in texts that others wrote, made plain: what an agent said must not end its turn for who reads it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

LIKELY = r"""<(?:\|[^<>|\s]{1,40}\||｜[^<>｜\s]{1,40}｜)>        # <|im_end|> and the like
    | </?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|start_of_image|extra_(?:id_)?\d{1,3})>
    | <{1,2}/?SYS>{1,2} | \[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"""
"""What is a control token of some model by its look; for re.VERBOSE and re.IGNORECASE."""


def plain(text: str, tokenizer: Any) -> str:
    """The text with a space before the last character of each control token in it, so that it is none.

    Those are the special tokens of the Hugging Face `tokenizer`, and what looks like one: some tokenizers have those
    of their chat template as ordinary tokens, and some templates mark turns by plain text.
    """
    cuts = sorted({match.end(1) - 1 for match in _control(tokenizer).finditer(text)})
    return " ".join(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))


@lru_cache(maxsize=16)
def _control(tokenizer: Any) -> re.Pattern[str]:
    """Matches at each place where a control token begins, the shortest first: a cut within it is within all others."""
    special = sorted({t.content for t in tokenizer.added_tokens_decoder.values() if t.special}, key=len)
    either = "|".join([*map(re.escape, special), LIKELY])
    return re.compile(f"(?=({either}))", re.VERBOSE | re.IGNORECASE)
