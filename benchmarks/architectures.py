"""Is the learner right on every architecture? Run it as it is, or with model types as arguments.

Each causal language model that transformers has is made in a tiny random shape, and the learner's log-probs and
gradients are compared with a plain forward pass of one segment at a time: in plain rows (one a micro-batch), padded
rows and flat micro-batches (completions behind one prompt, without padding). Prints the largest gap of a log-prob, and
that of the gradient as a share of its norm; `-` is where the model cannot share prompts, so that none is.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "shared"))
from architectures import causal_types, gaps, multimodal_types, tiny_model

from journeyman.agent.errors import UsageError

LIMIT = 2e-5


def main() -> int:
    """Prints the table; returns how many architectures are off by more than `LIMIT`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", help="model types, e.g. llama gemma2; all without")
    chosen = parser.parse_args().types or [*causal_types(), *multimodal_types()]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    columns = f"{'plain':>18}{'padded':>10}{'flat':>10}"
    print(f"{'log-probs and gradients of':<28}{columns}{columns}")
    counts = {"right": 0, "refused": 0, "off": 0, "not built": 0}
    for name in chosen:
        counts[_line(name)] += 1
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return counts["off"]


def _line(name: str) -> str:
    try:
        model = tiny_model(name)
    except Exception as error:  # transformers' own, for configurations that it cannot build
        print(f"{name:<28}not built: {type(error).__name__}: {str(error).strip().splitlines()[0][:120]}", flush=True)
        return "not built"
    try:
        found = gaps(model)
    except UsageError as error:
        print(f"{name:<28}refused: {error}", flush=True)
        return "refused"
    cells = [
        f"{'-' if value is None else format(value, '.0e'):>{width}}"
        for value, width in zip((*found.logprobs, *found.gradients), (18, 10, 10) * 2, strict=True)
    ]
    off = not all(value <= LIMIT for value in (*found.logprobs, *found.gradients) if value is not None)  # nan is off
    print(f"{name:<28}{''.join(cells)}{'  OFF' if off else ''}", flush=True)
    return "off" if off else "right"


if __name__ == "__main__":
    sys.exit(main())
