"""Prints docs/settings.md from the settings model: `python docs/make_settings.py > docs/settings.md`."""

from __future__ import annotations

import json
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from journeyman.workflows.settings.settings import Settings

HEAD = """# Settings

One TOML file, checked before anything starts; `--set table.name=value` overrides it on the command line, and
`--set table.name=null` takes the default; so it is with `verifiers.NAME.option` and `environment.option`. Environment
options are in [environments.md](environments.md).

The prompts of some tasks of each split are looked at too, with the environment's tools: where none of them leaves room
for `generate.max_tokens` in `sampler.max_context` the run does not begin, and where some do not there is a warning.
`sampler.max_context` may not be more than the model's own limit, nor reach to where positions depend on the length.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        listed = get_args(section)[0] if get_origin(section) is tuple else None
        if listed is not None:
            parts += [f"## [[{name}]]\n", f"{(listed.__doc__ or '').strip()}\n", table(listed)]
        elif isinstance(section, type) and issubclass(section, BaseModel):
            parts += [f"## [{name}]\n", f"{(section.__doc__ or '').strip()}\n", table(section)]
        else:
            parts += [f"## [{name}]\n", f"{one_line(field.description)}\n"]
    return "\n".join(parts)


def table(section: type[BaseModel]) -> str:
    """One row a setting."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        default = "" if field.default is PydanticUndefined else json.dumps(field.default, default=str)
        rows.append(f"| `{name}` | `{default}` | {one_line(field.description)} |")
    return "\n".join(rows) + "\n"


def one_line(text: str | None) -> str:
    """The text without line breaks, safe in a table."""
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
