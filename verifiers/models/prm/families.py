"""The families of process reward models: how each is told a solution, and where and how its scores are read.

The known ones are those of the models' own pages:

    math_shepherd          peiyi9979/math-shepherd-mistral-7b-prm          arXiv 2312.08935
    rlhflow                RLHFlow/Llama3.1-8B-PRM-Mistral-Data, ...       arXiv 2405.07863
    qwen                   Qwen/Qwen2.5-Math-PRM-7B, ...                   arXiv 2501.07301
    skywork                Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B, ...
    thinkprm, thinkprm_yes launch/ThinkPRM-14B, ...                        arXiv 2504.16828
    implicit               PRIME-RL/EurusPRM-Stage1, ...                   arXiv 2412.01981
    token_classification   what `journeyman train-prm` and TRL's PRMTrainer write
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ConfigDict, TypeAdapter, ValidationError

from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.steps import StepSplit

FIELDS_FILE = "journeyman_prm.json"
"""Beside a model's weights: `{"family": NAME}` and any fields of `Family` that differ from that family's."""

Aggregate: TypeAlias = Literal["min", "product", "last", "mean"]
"""How the steps' scores become the solution's."""


@dataclass(frozen=True)
class Family:
    """One way to ask a process reward model; `FAMILIES` has the known ones."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # a misspelt key of a settings file

    formatter: Literal["text", "pieces", "chat", "turns", "answer", "critique"]
    """How the input is laid out.

    `text`: problem and steps as one text. `pieces`: the same, but each part's tokens made apart. `chat`: the steps as
    one answer of the assistant. `turns`: each step is the user's, and the separator is the assistant's answer to it.
    `answer`: a chat whose steps have the separator between them, read as a whole. `critique`: a request for a critique.
    """
    head: Literal["vocabulary", "classifier", "stored", "log_ratio", "critique"]
    """What is read.

    `vocabulary`: a causal language model's logits of the `labels`. `classifier`: a Hugging Face token classification.
    `stored`: linear layers, with ReLU between, that the checkpoint holds beside the base model. `log_ratio`: beta times
    the log-ratio of two language models. `critique`: what the model writes.
    """
    separator: str = "\n"
    """The marker at the end of each step, by whose last token the step is read."""
    offset: int = 0
    """Where it is read, in tokens from the separator's last one: 0 at it, -1 where it is predicted."""
    labels: tuple[str, ...] = ()
    """`vocabulary`: the answers compared, one token each. `critique`: the same for the question after the critique."""
    positive: int = 1
    """Index of the class, or label, that means a good step; of no meaning where the head gives one number."""
    stored: str = ""
    """`stored`: what the names of the head's weights begin with."""
    split: StepSplit = "newline"
    """Where steps end, if the options do not say."""
    aggregate: Aggregate = "min"
    """The solution's score, if the options do not say."""
    system: str = ""
    """The chat's system message."""
    after_problem: str = ""
    """What stands between the problem and the first step."""
    numbered: bool = False
    """Whether `Step 1: ` is put before a step that does not begin so."""

    def __post_init__(self) -> None:
        if (self.head == "vocabulary" or self.labels) and not 0 <= self.positive < len(self.labels) > 1:
            raise SettingsError(f"head {self.head!r} needs labels, and positive as an index of them: got {self}")
        if self.labels and self.head not in {"vocabulary", "critique"}:
            raise SettingsError(f"head {self.head!r} has no labels: got {', '.join(self.labels)}")
        if self.head == "stored" and not self.stored:
            raise SettingsError("head 'stored' needs 'stored', what the names of the head's weights begin with")
        if (self.formatter == "critique", self.formatter == "answer") != (
            self.head == "critique",
            self.head == "log_ratio",
        ):
            raise SettingsError(f"formatter {self.formatter!r} does not go with head {self.head!r}")
        if not self.separator:
            raise SettingsError("'separator' is empty: a step is read where it ends")


_QWEN_SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."

FAMILIES = {
    "math_shepherd": Family(
        "text", "vocabulary", " ки", labels=("+", "-"), positive=0, after_problem=" ", numbered=True
    ),
    "rlhflow": Family(
        "turns", "vocabulary", "+", -1, labels=("+", "-"), positive=0, after_problem=" ", split="blank_line"
    ),
    "qwen": Family("chat", "stored", "<extra_0>", stored="score", system=_QWEN_SYSTEM, split="blank_line"),
    "skywork": Family("pieces", "stored", stored="v_head", after_problem="\n"),
    "thinkprm": Family("critique", "critique", numbered=True),
    "thinkprm_yes": Family("critique", "critique", labels=(" Yes", " No"), positive=0, numbered=True),
    "implicit": Family("answer", "log_ratio", "\n\n", split="blank_line"),
    "token_classification": Family("pieces", "classifier"),
}

KNOWN_MODELS = {
    "peiyi9979/math-shepherd-mistral-7b-prm": "math_shepherd",
    "RLHFlow/Llama3.1-8B-PRM-Mistral-Data": "rlhflow",
    "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data": "rlhflow",
    "Qwen/Qwen2.5-Math-PRM-7B": "qwen",
    "Qwen/Qwen2.5-Math-PRM-72B": "qwen",
    "Qwen/Qwen2.5-Math-7B-PRM800K": "qwen",
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B": "skywork",
    "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B": "skywork",
    "launch/ThinkPRM-1.5B": "thinkprm",
    "launch/ThinkPRM-7B": "thinkprm",
    "launch/ThinkPRM-14B": "thinkprm",
    "PRIME-RL/EurusPRM-Stage1": "implicit",
    "PRIME-RL/EurusPRM-Stage2": "implicit",
    "trl-lib/Qwen2-0.5B-Reward-Math-Sheperd": "token_classification",
}


def named_family(name: str) -> Family:
    """The known family of that name; raises UnknownNameError."""
    if name not in FAMILIES:
        raise UnknownNameError("family of process reward models", name, FAMILIES, "or give its fields as a table")
    return FAMILIES[name]


def family_of(model: str) -> Family:
    """The family of a model by its name, or of a folder by its `journeyman_prm.json` or its config's architecture.

    A folder whose last part is a known model's last part is taken for a copy of it. Raises UnknownNameError for any
    other, SettingsError for a malformed file.
    """
    folder = Path(model).expanduser()
    if (folder / FIELDS_FILE).is_file():
        return _read(folder / FIELDS_FILE)
    if (folder / "config.json").is_file():
        for architecture in json.loads((folder / "config.json").read_text()).get("architectures") or ():
            if architecture.endswith("ForTokenClassification"):
                return FAMILIES["token_classification"]
            if architecture.endswith("ForProcessRewardModel"):
                return FAMILIES["qwen"]
    copies = {name.rpartition("/")[2]: family for name, family in KNOWN_MODELS.items()}
    known = KNOWN_MODELS.get(model) or (copies.get(folder.name) if folder.is_dir() else None)
    if known is None:
        remedy = f"set option 'family' to one of {', '.join(FAMILIES)}, or to a table of its fields"
        raise UnknownNameError("process reward model", model, KNOWN_MODELS, remedy)
    return FAMILIES[known]


def _read(path: Path) -> Family:
    try:
        row: dict[str, Any] = json.loads(path.read_text())
        base = named_family(row.pop("family"))
        whole = {f.name: getattr(base, f.name) for f in fields(base)} | row
        return TypeAdapter(Family).validate_python(whole)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{type(error).__name__}: {error}"
        raise SettingsError(f'{path} is not an object of {{"family": NAME}} and fields of it: {why}') from None
