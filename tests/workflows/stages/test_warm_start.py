"""Demonstrations from a file of chat messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from journeyman.agent.data import Source, Split
from journeyman.agent.errors import DataError
from journeyman.agent.models import byte_tokenizer
from journeyman.storage.store import ReplayStore
from journeyman.workflows.session.runs import start_run
from journeyman.workflows.settings.loading import parse_settings
from journeyman.workflows.settings.settings import Settings
from journeyman.workflows.stages.prepare import prepare
from journeyman.workflows.stages.warm_start import warm_start


def chat(question: str, answer: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, "answer": answer})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows of a dataset, the last four for testing, and demonstrations of some of both."""
    rows = [json.dumps({"question": f"{i} + 1?", "answer": str(i + 1)}) for i in range(24)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows[:20]))
    (tmp_path / "test.jsonl").write_text("\n".join(rows[20:]))
    shown = [chat("0 + 1?", "1"), chat(" 21 +  1?", "22"), chat("30 + 1?", "31")]
    (tmp_path / "shown.jsonl").write_text("\n".join(shown))
    return tmp_path


def settings_in(folder: Path, **environment: str) -> Settings:
    options = {"train": str(folder / "train.jsonl"), "test": str(folder / "test.jsonl"), "validation_fraction": 0.2}
    return parse_settings(
        {
            "store": {"url": f"sqlite:///{folder}/store.db", "artifacts": str(folder / "artifacts")},
            "environment": {"name": "dataset", **options, **environment},
            "tasks": {"train": 4, "validation": 1, "test": 4},
            "model": {"hidden": 16, "layers": 1, "tool_format": "positional"},
            "sampler": {"kind": "transformers"},
            "warm_start": {"file": str(folder / "shown.jsonl"), "max_epochs": 1, "check_every": 1},
            "generate": {"max_tokens": 8},
        },
        "the test",
    )


def test_held_out_prompts_are_left_out_and_what_was_learned_from_is_kept(folder: Path) -> None:
    settings = settings_in(folder)
    ref = start_run(settings)
    prepare(ref)
    learned_from = warm_start(ref)["demonstrations"]
    store = ReplayStore(settings.store.url)
    held_out = {
        t.prompt[0].content for split in (Split.VALIDATION, Split.TEST) for t in store.tasks.of(ref.run_id, split)
    }
    assert "21 + 1?" in held_out
    experts = {t.task.prompt[0].content: t for t in store.trajectories.of(ref.run_id, source=Source.EXPERT)}
    assert set(experts) == {"0 + 1?", "30 + 1?"} - held_out
    assert len(experts) == learned_from
    (learned,) = store.trajectories.uses_of(experts["30 + 1?"].id)
    assert (learned[0], learned[1].reward, learned[1].advantage, learned[1].nll_weight) == (1, 1.0, None, 1.0)
    store.close()


def test_what_the_expert_was_shown_is_in_what_is_learned_from(folder: Path) -> None:
    tool = {"name": "search", "description": "", "parameters": {"type": "object", "properties": {"q": {}}}}
    messages = [
        {"role": "user", "content": "30 + 1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "search", "arguments": '{"q": "30"}'}}],
        },
        {"role": "tool", "content": "thirty"},
        {"role": "assistant", "content": "One more."},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "31"},
    ]
    (folder / "shown.jsonl").write_text(json.dumps({"messages": messages, "tools": [tool], "answer": "31"}))
    settings = settings_in(folder)
    ref = start_run(settings)
    prepare(ref)
    warm_start(ref)
    store = ReplayStore(settings.store.url)
    (stored,) = store.trajectories.of(ref.run_id, source=Source.EXPERT)
    assert [[m.content for m in turn.observation] for turn in stored.trajectory.turns] == [
        ["thirty"],
        ["And then?"],
        [],
    ]
    (segment,) = stored.trajectory.segments
    read = byte_tokenizer().decode
    assert read(segment.completion_ids[~segment.loss_mask]) == (
        "<|tool|>thirty<|end|><|assistant|><|user|>And then?<|end|><|assistant|>"
    )
    assert read(segment.completion_ids[segment.loss_mask]) == (
        '<tool_call>search("30")</tool_call><|end|>One more.<|end|>31<|end|>'
    )
    store.close()


CALL = {"name": "search", "arguments": {"q": "1 + 1"}}


def test_a_call_that_no_tool_takes_is_named_by_its_row(folder: Path) -> None:
    chats = [{"role": "user", "content": "30 + 1?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
    (folder / "shown.jsonl").write_text(chat("0 + 1?", "1") + "\n\n" + json.dumps({"messages": chats}) + "\n")
    ref = start_run(settings_in(folder))
    prepare(ref)
    with pytest.raises(DataError, match=r"shown.jsonl:3: an expert's tool call cannot be written: no tool takes"):
        warm_start(ref)


def test_a_call_of_the_environments_own_expert_is_named_by_its_task(folder: Path) -> None:
    chats = [
        [{"role": "user", "content": f"{i} + 1?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
        for i in range(30)
    ]
    for name, rows in (("train", chats[:20]), ("test", chats[20:])):
        text = "".join(json.dumps({"messages": row, "answer": "1"}) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    settings = settings_in(folder, messages="messages")
    ref = start_run(settings.model_copy(update={"warm_start": settings.warm_start.model_copy(update={"file": None})}))
    prepare(ref)
    with pytest.raises(DataError, match=r"demonstration 1, of task \w+: an expert's tool call cannot be written"):
        warm_start(ref)
