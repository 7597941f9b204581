"""Token blobs give segments back bit for bit, and refuse everything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.data import Segment
from journeyman.agent.errors import StoreError
from journeyman.storage.trajectories.arrays import pack_segment, unpack_segment

ids = st.lists(st.integers(0, 2**31 - 1), max_size=50)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    completion = draw(ids)
    mask = draw(st.lists(st.booleans(), min_size=len(completion), max_size=len(completion)))
    logprobs = None
    if draw(st.booleans()):
        floats = st.floats(-100, 0, width=32)
        logprobs = np.array(draw(st.lists(floats, min_size=sum(mask), max_size=sum(mask))), np.float32)
    return Segment(np.array(draw(ids), np.int32), np.array(completion, np.int32), np.array(mask, np.bool_), logprobs)


@given(segments())
def test_round_trip_is_exact(segment: Segment) -> None:
    again = unpack_segment(pack_segment(segment))
    assert again.same_as(segment)
    assert (again.prompt_ids.dtype, again.loss_mask.dtype) == (np.int32, np.bool_)


@given(segments(), st.data())
def test_a_changed_blob_is_refused(segment: Segment, data: st.DataObject) -> None:
    blob = bytearray(pack_segment(segment))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(StoreError):
        unpack_segment(bytes(blob))


@given(segments(), st.integers(1, 20))
def test_a_cut_blob_is_refused(segment: Segment, cut: int) -> None:
    with pytest.raises(StoreError):
        unpack_segment(pack_segment(segment)[:-cut])


def test_wrong_lengths_and_nan_are_refused() -> None:
    one, mask = np.array([5], np.int32), np.array([True])
    with pytest.raises(StoreError, match="2 mask bits for 1 completion tokens"):
        pack_segment(Segment(one, one, np.array([True, False]), None))
    with pytest.raises(StoreError, match="2 log-probs for 1 trained tokens"):
        pack_segment(Segment(one, one, mask, np.zeros(2, np.float32)))
    with pytest.raises(StoreError, match="not finite"):
        pack_segment(Segment(one, one, mask, np.array([np.nan], np.float32)))


def test_a_blob_of_4096_tokens_is_less_than_a_quarter_of_its_json() -> None:
    import json

    rng = np.random.default_rng(0)
    completion = rng.integers(0, 100_000, 4096).astype(np.int32)
    logprobs = rng.standard_exponential(4096).astype(np.float32) * -1
    segment = Segment(np.arange(10, dtype=np.int32), completion, np.ones(4096, np.bool_), logprobs)
    as_json = json.dumps([completion.tolist(), [1] * 4096, logprobs.tolist()])
    assert len(pack_segment(segment)) < len(as_json) / 4
