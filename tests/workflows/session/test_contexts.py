"""Prompts that do not fit are found before a run begins, in one line with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journeyman.agent.errors import SettingsError
from journeyman.agent.models import make_tiny
from journeyman.workflows.session.contexts import check_contexts

SUM = len("1+0?") + 4  # and the tokens <|bos|>, <|user|>, <|end|>, <|assistant|>


@pytest.fixture
def settings(watched):
    """`settings(max_context, max_tokens, environment's name, **sections)`."""

    def of(context: int, tokens: int, name: str = "watched_plugins:Sums", **sections):
        sampler = {"kind": "transformers", "max_context": context}
        environment = {"name": name} | sections.pop("environment", {})
        return watched.settings(sampler=sampler, generate={"max_tokens": tokens}, environment=environment, **sections)

    return of


def test_prompts_that_fit_say_nothing(settings, caplog) -> None:
    check_contexts(settings(SUM + 10, 10))
    assert caplog.text == ""


def test_a_split_of_which_none_fits_is_an_error(settings) -> None:
    says = (
        r"none of 4 train prompts leaves room for an answer of generate.max_tokens = 10 tokens in "
        rf"sampler.max_context = {SUM + 9}: they take {SUM} to {SUM} tokens; set sampler.max_context to {SUM + 10}, or"
    )
    with pytest.raises(SettingsError, match=says):
        check_contexts(settings(SUM + 9, 10))


def test_guards_have_a_length_of_their_own(settings) -> None:
    environment = {"name": "watched_plugins:Sums", "offset": 10**9}
    guard = {"name": "big", "environment": environment, "tasks": 3, "max_tokens": 4}
    check_contexts(settings(SUM + 13, 4, guard=[guard]))
    with pytest.raises(SettingsError, match=r"none of 3 guard big prompts .* of max_tokens of guard big = 4 tokens"):
        check_contexts(settings(SUM + 12, 4, guard=[guard]))


def test_where_only_some_do_not_fit_there_is_a_warning(settings, caplog) -> None:
    check_contexts(settings(SUM + 12, 10, "context_plugins:Grown", tasks={"train": 9, "validation": 3, "test": 0}))
    (record,) = caplog.records
    assert record.getMessage() == (
        "6 of 9 train prompts leave no room for an answer of generate.max_tokens = 10 tokens in sampler.max_context = "
        f"{SUM + 12}: they take {SUM} to {SUM + 8} tokens; set sampler.max_context to {SUM + 18}, or "
        "generate.max_tokens lower"
    )


def test_tools_count(settings) -> None:
    model = {"hidden": 32, "layers": 1, "tool_format": "hermes"}
    with pytest.raises(SettingsError, match=r"none of 4 train prompts leaves room"):
        check_contexts(settings(SUM + 60, 10, "context_plugins:Grown", model=model))


@pytest.mark.parametrize(
    ("option", "why"), [("breaks", "open: RuntimeError: no such machine"), ("hangs", "open: no answer within 0.5 s")]
)
def test_an_environment_that_does_not_open_is_the_attempts_trouble(settings, caplog, option: str, why: str) -> None:
    check_contexts(settings(512, 10, "context_plugins:Grown", environment={option: True, "step_seconds": 0.5}))
    assert {record.getMessage().split(": ", 1)[1] for record in caplog.records} == {why}


def test_a_context_that_the_model_does_not_hold(settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"max_context is 2049, and model 'tiny' holds 2048 tokens: set it to 2048"):
        check_contexts(settings(2049, 10))
    folder = make_tiny(tmp_path / "model", 0, hidden=32, layers=1, heads=1, max_positions=100)
    model = {"name": str(folder)}
    check_contexts(settings(100, 10, model=model))
    with pytest.raises(SettingsError, match=r"max_context is 101, and model .* holds 100 tokens"):
        check_contexts(settings(101, 10, model=model))
    with pytest.raises(SettingsError, match=r"tokens; shorten the prompts, or generate.max_tokens lower"):
        check_contexts(settings(100, 99, model=model))
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    (folder / "config.json").write_text(json.dumps(config))
    check_contexts(settings(400, 10, model=model))
