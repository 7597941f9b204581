"""What every table of the settings file is, and a rubric as settings write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict

from journeyman.verifiers.rubric import Term


def _numbers_are_weights(rubric: Any) -> Any:
    if not isinstance(rubric, Mapping):
        return rubric
    is_number = {name: isinstance(term, int | float) for name, term in rubric.items()}
    return {name: {"weight": term} if is_number[name] else term for name, term in rubric.items()}


Terms: TypeAlias = Annotated[Mapping[str, Term], BeforeValidator(_numbers_are_weights)]
"""A rubric as settings write it: verifier names with a weight, or a table of `weight`, `gate` and `shaping`."""


NAME = r"^[^\W_][\w.-]*$"
"""Of runs and guards: a letter or digit first, so that none is a path (`..`) or an option (`--help`)."""


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
