"""The map from tokens to steps, against what the tokens' bytes say, for tokenizers of several kinds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from journeyman.agent.data import Message, Segment, Source, StopReason, Trajectory, Turn
from journeyman.agent.learning.step_tokens import steps_of_tokens, turns_of_tokens
from journeyman.agent.steps import StepSpan, split_steps

END = "<|end|>"
TRAINED_ON = ["let x be 12\nthen x+x is 24\n\n", "日本語のテキスト\n", "so 3 * 4 = 12\n", "naïve café 🙂\n"] * 3
texts = st.text(alphabet="ab 12+=x\n日本é🙂", max_size=24)


def byte_level(merges: int):
    """Byte-level BPE with so many merges; with none, every byte is a token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=257 + merges, initial_alphabet=alphabet, special_tokens=[END], show_progress=False
    )
    core.train_from_iterator(TRAINED_ON, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END)


def metaspace():
    """As Llama 2: spaces are part of words, the first one is dropped by the decoder, unknown text is bytes."""
    pieces = ["▁", "a", "b", "x", "1", "2", "+", "=", "\n", "▁x", "12", "ab", "▁12"]
    vocabulary = {piece: i for i, piece in enumerate([END, "<unk>", *(f"<0x{b:02X}>" for b in range(256)), *pieces])}
    merges = [("1", "2"), ("a", "b"), ("▁", "x"), ("▁", "12")]
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([END])
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, unk_token="<unk>")


TOKENIZERS = {"bytes": byte_level(0), "bpe": byte_level(60), "metaspace": metaspace()}
every_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)


def decoder_of(name: str):
    return lambda ids: TOKENIZERS[name].decode(list(ids), clean_up_tokenization_spaces=False)


def said(turns: list[list[int]], name: str) -> Trajectory:
    """A trajectory of these turns' tokens with an observation of two tokens after each, in one segment."""
    decode = decoder_of(name)
    ids = [i for turn in turns for i in (*turn, 0, 0)][:-2]
    mask = [flag for turn in turns for flag in ([True] * len(turn) + [False, False])][:-2]
    segment = Segment(np.zeros(1, np.int32), np.array(ids, np.int32), np.array(mask), None)
    end = TOKENIZERS[name].eos_token_id
    contents = [decode(turn[:-1] if turn[-1] == end else turn) for turn in turns]
    messages = tuple(Turn(Message("assistant", content)) for content in contents)
    return Trajectory("h", Source.POLICY, messages, (segment,), StopReason.TERMINATED)


def tokens_of(text: str, name: str) -> list[int]:
    return [*TOKENIZERS[name](text, add_special_tokens=False).input_ids, TOKENIZERS[name].eos_token_id]


@every_tokenizer
@settings(deadline=None, max_examples=60)
@given(said_texts=st.lists(texts, min_size=1, max_size=3), by=st.sampled_from(["newline", "turn"]))
def test_every_token_is_of_the_step_its_first_byte_is_in(name: str, said_texts, by) -> None:
    turns = [tokens_of(text, name) for text in said_texts]
    trajectory = said(turns, name)
    contents = [turn.action.content for turn in trajectory.turns]
    assert name == "metaspace" or contents == said_texts
    steps = split_steps(trajectory, by)
    if not steps:
        with pytest.raises(ValueError, match="must be some"):
            steps_of_tokens(trajectory, steps, decoder_of(name))
        return
    expected = [
        index
        for turn, ids in enumerate(turns)
        for index in by_bytes(ids, turn, contents[turn], steps, bytes_of(ids, name))
    ]
    assert steps_of_tokens(trajectory, steps, decoder_of(name))[0].tolist() == expected


def bytes_of(ids: list[int], name: str) -> list[int]:
    """How many bytes of the text each token is, by its piece alone."""
    sizes = []
    for number, piece in enumerate(TOKENIZERS[name].convert_ids_to_tokens(ids)):
        if piece == END:
            sizes.append(0)
        elif name != "metaspace":
            sizes.append(len(piece))  # one letter stands for one byte
        elif piece.startswith("<0x"):
            sizes.append(1)
        else:
            sizes.append(len(piece.encode().replace("▁".encode(), b" ")) - (number == 0))  # its first space is dropped
    return sizes


def by_bytes(ids, turn: int, text: str, steps: list[StepSpan], sizes: list[int]) -> list[int]:
    """The step of each token: where its first byte is; at the end of the turn the last step so far."""
    starts = {step.turn: [] for step in steps} | {turn: []}
    for step in steps:
        starts[step.turn].append(len(text[: step.start].encode()) if step.turn == turn else 0)
    before = sum(len(starts[t]) for t in starts if t < turn)
    found, place = [], 0
    for size in sizes:
        inside = sum(start <= place for start in starts[turn])
        found.append(max(before + inside - 1, 0))
        place += size
    return found


@every_tokenizer
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_sampled_tokens_get_steps_in_order(name: str, data) -> None:
    size = len(TOKENIZERS[name])
    turns = data.draw(st.lists(st.lists(st.integers(1, size - 1), min_size=1, max_size=12), min_size=1, max_size=3))
    trajectory = said(turns, name)
    steps = split_steps(trajectory, "newline")
    if steps:
        (found_M,) = steps_of_tokens(trajectory, steps, decoder_of(name))
        assert len(found_M) == sum(map(len, turns))
        assert (np.diff(found_M) >= 0).all()
        assert 0 <= found_M[0] <= found_M[-1] < len(steps)


def test_worked_example_over_two_segments() -> None:
    trajectory = said([tokens_of("a\nb", "bytes")], "bytes")
    more = said([tokens_of("  ", "bytes"), tokens_of("1\n2", "bytes")], "bytes")
    both = Trajectory(
        "h", Source.POLICY, trajectory.turns + more.turns, trajectory.segments + more.segments, StopReason.TERMINATED
    )
    steps = split_steps(both, "newline")
    assert [(s.turn, s.start, s.end) for s in steps] == [(0, 0, 2), (0, 2, 3), (2, 0, 2), (2, 2, 3)]
    found = steps_of_tokens(both, steps, decoder_of("bytes"))
    # "a", newline | "b", end;  the blank turn is of the step before it, then "1", newline | "2", end
    assert [f.tolist() for f in found] == [[0, 0, 1, 1], [1, 1, 1, 2, 2, 3, 3]]


def masked(*masks: str) -> tuple[Segment, ...]:
    """Segments whose trained tokens are those marked x, e.g. "xx..x"."""
    return tuple(
        Segment(np.zeros(1, np.int32), np.arange(len(m), dtype=np.int32), np.array([c == "x" for c in m]), None)
        for m in masks
    )


def of_turns(turns: int, *masks: str) -> Trajectory:
    said_nothing = (Turn(Message("assistant", "")),) * turns
    return Trajectory("h", Source.EXPERT, said_nothing, masked(*masks), StopReason.TERMINATED)


@pytest.mark.parametrize(
    ("turns", "masks", "expected"),
    [
        (2, ["xx..x"], [[0, 0, 1]]),
        (3, ["xxx.x", "..xx."], [[0, 0, 0, 1], [2, 2]]),  # a second segment goes on counting
        (4, ["....xx.x"], [[2, 2, 3]]),  # two turns of the policy that an expert went on from are context
        (3, ["...", ".x"], [[], [2]]),
        (1, ["..."], [[]]),
    ],
)
def test_trained_tokens_are_of_the_last_turns_in_order(turns, masks, expected) -> None:
    assert [found.tolist() for found in turns_of_tokens(of_turns(turns, *masks))] == expected


def test_more_runs_than_turns_are_no_trajectory() -> None:
    with pytest.raises(ValueError, match="of 1 turns has 3 runs of trained tokens"):
        turns_of_tokens(of_turns(1, "x.x", "x"))


@given(st.lists(st.text("x.", max_size=12), min_size=1, max_size=3))
def test_runs_are_the_stretches_of_trained_tokens(masks) -> None:
    for mask, segment in zip(masks, masked(*masks), strict=True):
        rebuilt = ["."] * len(mask)
        for start, end in segment.runs():
            assert 0 <= start < end <= len(mask)
            assert start == 0 or rebuilt[start - 1] == "."  # runs do not touch
            rebuilt[start:end] = "x" * (end - start)
        assert "".join(rebuilt) == mask


def test_refuses_what_does_not_fit() -> None:
    trajectory = said([tokens_of("ab", "bytes")], "bytes")
    out_of_order = [StepSpan(0, 1, 2), StepSpan(0, 0, 1)]
    with pytest.raises(ValueError, match="each later than the one before"):
        steps_of_tokens(trajectory, out_of_order, decoder_of("bytes"))
    with pytest.raises(ValueError, match="begins at character 10"):
        steps_of_tokens(trajectory, [StepSpan(0, 10, 11)], decoder_of("bytes"))
