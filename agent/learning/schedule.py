"""How the learning rate moves over a piece of training."""

from __future__ import annotations


def warmup_then_decay(peak: float, warmup: float, done: float) -> float:
    """Linear up to `peak` over the first share `warmup` of the steps, then linear down to 0 at the end.

    `warmup` is in [0, 1). `done` is the share of the steps taken, in [0, 1); the very first step of a warm-up has a
    tenth of the way up behind it.
    """
    if done < warmup:
        return peak * max(done / warmup, 0.1)
    return peak * (1 - done) / (1 - warmup)
