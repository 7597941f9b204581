"""Whether all ranks learn from the same: each of them reads the store, and asks the environment, by itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from journeyman.agent.data import Json
from journeyman.agent.errors import JourneymanError
from journeyman.agent.learning.hardware.ranks import Ranks
from journeyman.agent.learning.rows import Stream, TrainingRow


def agree(ranks: Ranks, what: str, gathered: Json) -> None:
    """Raises JourneymanError, on all ranks, where one has gathered something else than the first; `what` names it.

    All ranks have to call it. With different rows their collectives would not match, and wait until their time is out.
    """
    text = json.dumps(gathered, sort_keys=True)
    found = ranks.merged({ranks.rank: hashlib.blake2b(text.encode(), digest_size=8).hexdigest()})
    others = [str(rank) for rank in sorted(found) if found[rank] != found[0]]
    if others:
        raise JourneymanError(
            f"rank {', '.join(others)} has other {what} to learn from than rank 0: labels or verdicts were given while "
            "they were read, or the environment failed in one of them: do the update again, by `journeyman resume` or, "
            "where the run is finished, by the same `journeyman finetune`"
        )


def told_of_rows(rows: Sequence[TrainingRow]) -> Json:
    """Of each what has to be the same: tokens, and by stream how many are weighed and by how much, but for rounding."""
    return [
        [
            len(row.segment.prompt_ids),
            len(row.segment.completion_ids),
            *([row.tokens(stream), _told(row, stream)] for stream in Stream if stream is not Stream.OBSERVATION),
        ]
        for row in rows
    ]


def _told(row: TrainingRow, stream: Stream) -> list[str | int]:
    weights_M = row.weights(stream)
    return [int(np.count_nonzero(weights_M)), f"{float(np.abs(weights_M).sum()):.3e}"]
