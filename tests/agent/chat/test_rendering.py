"""Rendering: tokens in, tokens out; masks true exactly where a token was chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.chat.rendering import Transcript, choices_of, render_episode, rerender
from journeyman.agent.chat.tool_calls import ToolFormat
from journeyman.agent.data import (
    Episode,
    Message,
    Source,
    Split,
    StopReason,
    Task,
    Tool,
    ToolCall,
    Trajectory,
    Turn,
)
from journeyman.agent.errors import SettingsError, TemplateRefusedError
from journeyman.agent.models import load_tokenizer, make_tiny

MOVE = Tool(
    "move",
    "Go some cells.",
    {
        "type": "object",
        "properties": {"direction": {"type": "string"}, "cells": {"type": "integer"}},
        "required": ["direction"],
    },
)

CHATML = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = CHATML.replace(
    "{{ m['content'] }}",  # thoughts of earlier turns are dropped, as some reasoning models' templates do
    "{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}",
)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return str(make_tiny(tmp_path_factory.mktemp("models") / "tiny", 0, hidden=32, layers=1, heads=1, intermediate=32))


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    return Renderer(load_tokenizer(tiny_folder))


def with_template(folder, template, **options):
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.chat_template = template
    return Renderer(tokenizer, ToolFormat.HERMES, **options)


@pytest.fixture(scope="module")
def chatml(tiny_folder):
    return with_template(tiny_folder, CHATML)


@pytest.fixture(scope="module")
def forgetful(tiny_folder):
    return with_template(tiny_folder, FORGETFUL)


def task_of(*prompt):
    return Task("toy", None, tuple(prompt), Split.TRAIN, "0" * 32)


texts = st.text(max_size=30)
conversations = st.tuples(texts, st.lists(st.tuples(texts, texts), min_size=1, max_size=4))


def transcribe(renderer, question, turns):
    transcript = Transcript(renderer, [Message("user", question)])
    messages = [Message("user", question)]
    for action, answer in turns:
        transcript.prompt_ids()
        messages += [transcript.act(renderer.action_ids(Message("assistant", action)), None), Message("user", answer)]
        transcript.observe(messages[-1:])
    return transcript.segments(), messages[:-1]


@given(conversations)
def test_tokens_spell_the_template_and_masks_the_actions(tiny, conversation):
    question, turns = conversation
    (segment,), messages = transcribe(tiny, question, turns)
    spelled = tiny.decode([*segment.prompt_ids, *segment.completion_ids])
    assert spelled == tiny.conversation(messages, answer=False)
    assert tiny.decode(segment.prompt_ids) == f"<|bos|><|user|>{question}<|end|><|assistant|>"
    chosen = tiny.decode(segment.completion_ids[segment.loss_mask])
    assert chosen == "".join(f"{action}<|end|>" for action, _ in turns)
    shown = tiny.decode(segment.completion_ids[~segment.loss_mask])
    assert shown == "".join(f"<|user|>{answer}<|end|><|assistant|>" for _, answer in turns[:-1])
    assert segment.behaviour_logprobs is None


@given(conversations)
def test_a_template_with_text_after_the_end_of_turn(chatml, conversation):
    question, turns = conversation
    (segment,), messages = transcribe(chatml, question, turns)
    spelled = chatml.decode([*segment.prompt_ids, *segment.completion_ids])
    assert spelled + "\n" == chatml.conversation(messages, answer=False)
    assert chatml.decode(segment.completion_ids[segment.loss_mask]) == "".join(f"{a}<|im_end|>" for a, _ in turns)


sampled_turns = st.lists(
    st.tuples(st.lists(st.integers(0, 264).filter(lambda i: i != 262), max_size=8), texts), min_size=1, max_size=4
)


@given(sampled_turns)
def test_sampled_tokens_are_kept_as_sampled(tiny, turns):
    """Any tokens, broken UTF-8 and stray special ones among them."""
    transcript = Transcript(tiny, [Message("user", "go")])
    history: list[int] = []
    for number, (ids, answer) in enumerate(turns):
        prompt = transcript.prompt_ids()
        assert prompt[: len(history)] == history  # nothing already said is tokenised anew
        sampled = [*ids, tiny.end_id]
        transcript.act(sampled, [-float(number + 1)] * len(sampled))
        transcript.observe([Message("user", answer)])
        history = prompt + sampled
    (segment,) = transcript.segments()
    assert [*segment.prompt_ids, *segment.completion_ids] == history
    runs = choices_of(Trajectory("", Source.POLICY, (None,) * len(turns), (segment,), StopReason.TERMINATED))
    assert [run.ids for run in runs] == [(*ids, tiny.end_id) for ids, _ in turns]
    assert [run.logprobs for run in runs] == [(-float(n + 1),) * len(run.ids) for n, run in enumerate(runs)]
    expected = [-float(n + 1) for n, (ids, _) in enumerate(turns) for _ in range(len(ids) + 1)]
    assert segment.behaviour_logprobs.tolist() == expected


def test_a_rewriting_template_starts_a_new_segment(forgetful):
    segments, messages = transcribe(forgetful, "q", [("<think>a</think>1", "more"), ("<think>b</think>2", "end")])
    first, second = segments
    assert forgetful.decode(first.completion_ids) == "<think>a</think>1<|im_end|>"
    assert first.loss_mask.all()
    assert second.loss_mask.all()
    prompt = forgetful.decode(second.prompt_ids)
    assert prompt == forgetful.conversation(messages[:3])
    assert "<think>a" not in prompt
    assert forgetful.decode(second.completion_ids) == "<think>b</think>2<|im_end|>"


def test_the_end_of_turn_is_found(tiny, chatml):
    assert tiny.decode([tiny.end_id]) == "<|end|>"
    assert tiny.stop_ids == (tiny.end_id,)
    assert [chatml.decode([i]) for i in chatml.stop_ids] == ["<|im_end|>", "<|end|>"]  # and the tokenizer's own eos


def test_no_chat_template_is_an_error(tiny_folder):
    tokenizer = load_tokenizer(tiny_folder)
    tokenizer.chat_template = None
    with pytest.raises(SettingsError, match="no chat template"):
        Renderer(tokenizer)


def test_a_system_message_that_is_refused_begins_the_users(tiny_folder):
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
    renderer = with_template(tiny_folder, template)
    text = renderer.conversation([Message("system", "s"), Message("user", "u")])
    assert text == "<|im_start|>user\ns\n\nu<|im_end|>\n<|im_start|>assistant\n"


def test_what_a_template_refuses_or_hides_is_an_error(tiny_folder):
    odd = "{% if m['content'] == 'odd' %}{{ raise_exception('not odd') }}{% endif %}"
    hide = "{% if 'hidden' not in m['content'] %}{{ m['content'] }}{% endif %}"
    template = CHATML.replace("<|im_start|>{{ m['role'] }}", odd + "<|im_start|>{{ m['role'] }}")
    renderer = with_template(tiny_folder, template.replace("{{ m['content'] }}", hide))
    with pytest.raises(TemplateRefusedError, match="refuses a conversation of user: not odd"):
        renderer.conversation([Message("user", "odd")])
    with pytest.raises(TemplateRefusedError, match="leaves out a message of role tool: 'hidden'"):
        renderer.conversation([Message("user", "u"), Message("assistant", "a"), Message("tool", "hidden")])


def test_tiny_takes_the_positional_format(tiny):
    assert tiny.tool_format is ToolFormat.POSITIONAL
    message = tiny.parse([*tiny.encode('go <tool_call>move("up", 2)</tool_call>'), tiny.end_id], [MOVE])
    assert message.content == 'go <tool_call>move("up", 2)</tool_call>'
    assert message.tool_calls == (ToolCall("move", {"direction": "up", "cells": 2}),)


def test_tools_are_described_once(tiny_folder, tiny, chatml):
    question = [Message("system", "Be brief."), Message("user", "q")]
    assert "move" not in tiny.conversation(question, [MOVE])  # learned from demonstrations
    assert chatml.conversation(question, [MOVE]).count("Go some cells.") == 1  # by the template
    deaf = with_template(tiny_folder, CHATML.replace("{% if tools %}", "{% if false %}"))
    text = deaf.conversation(question, [MOVE])
    assert text.count("Go some cells.") == 1
    assert text.index("Be brief.") < text.index("Go some cells.") < text.index("q<|im_end|>")
    assert text.count("system\n") == 1


@pytest.mark.parametrize("tool_format", [ToolFormat.HERMES, ToolFormat.POSITIONAL])
def test_an_expert_writes_calls_once(tiny_folder, tool_format):
    renderer = Renderer(load_tokenizer(tiny_folder), tool_format)
    action = Message("assistant", "Up.", (ToolCall("move", {"direction": "up"}),))
    written = renderer.write(action, [MOVE])
    assert written.content.startswith("Up.")
    assert written.content.count("<tool_call>") == 1
    assert renderer.write(written, [MOVE]) == written
    assert renderer.parse(renderer.action_ids(action, [MOVE]), [MOVE]) == written


def test_an_episode_as_messages(tiny):
    turns = (
        Turn(Message("assistant", "", (ToolCall("move", {"direction": "up"}),)), (Message("tool", "wall"),)),
        Turn(Message("assistant", "stay"), (Message("tool", "never shown"),)),
    )
    episode = Episode(task_of(Message("user", "go")), turns, 0)
    (segment,) = render_episode(episode, tiny, [MOVE])
    spelled = tiny.decode([*segment.prompt_ids, *segment.completion_ids])
    call = '<tool_call>move("up")</tool_call>'
    assert spelled == f"<|bos|><|user|>go<|end|><|assistant|>{call}<|end|><|tool|>wall<|end|><|assistant|>stay<|end|>"
    assert segment.behaviour_logprobs is None


def test_rerender_keeps_sampled_tokens_between_new_messages(chatml):
    """The policy spelled a marker out in bytes, as the tokenizer never would: its tokens must survive the relabel."""
    transcript = Transcript(chatml, [Message("user", "reach 7")])
    odd = [chatml.encode(letter)[0] for letter in "<|im_end|>"]
    assert tuple(odd) != chatml.encode("<|im_end|>")
    turns, sampled = [], []
    for shown in ("seen 1", "seen 2", "seen 3"):
        transcript.prompt_ids()
        ids = [*odd, *chatml.encode(shown[-1]), chatml.end_id]
        action = transcript.act(ids, [-float(shown[-1])] * len(ids))
        observed = (Message("user", shown),)
        transcript.observe(observed)
        turns.append(Turn(action, observed))
        sampled.append(tuple(ids))
    parent = Trajectory("0" * 32, Source.POLICY, tuple(turns), transcript.segments(), StopReason.TERMINATED)
    assert [choice.ids for choice in choices_of(parent)] == sampled

    retold = tuple(Turn(t.action, (Message("user", "toward 9"),)) for t in turns[1:])
    episode = Episode(task_of(Message("user", "reach 9")), retold, start_turn=1)
    (segment,) = rerender(parent, episode, chatml)
    assert chatml.decode(segment.prompt_ids) == chatml.conversation([Message("user", "reach 9")])
    assert tuple(segment.completion_ids[segment.loss_mask]) == sampled[1] + sampled[2]
    between = chatml.conversation([Message("user", "toward 9")])
    assert chatml.decode(segment.completion_ids[~segment.loss_mask]) == "\n" + between
    assert segment.behaviour_logprobs.tolist() == [-2.0] * len(sampled[1]) + [-3.0] * len(sampled[2])

    changed = Episode(episode.task, (Turn(Message("assistant", "new"), ()),), start_turn=2)
    (segment,) = rerender(parent, changed, chatml)
    assert tuple(segment.completion_ids) == chatml.action_ids(Message("assistant", "new"))
    assert segment.behaviour_logprobs is None


@given(sampled_turns, st.sets(st.integers(0, 3)), st.data())
def test_a_relabel_keeps_the_log_probs_of_what_it_keeps(forgetful, turns, thoughtful, data):
    """Wherever it starts and ends, however the template cuts it into segments, whatever is tokenised anew."""
    renderer = forgetful
    numbers = iter(range(1, 10_000))
    transcript = Transcript(renderer, [Message("user", "reach 7")])
    told, sampled = [], []
    for number, (ids, answer) in enumerate(turns):
        transcript.prompt_ids()
        thought = renderer.encode("why</think>") if number in thoughtful else ()
        chosen = [*thought, *ids, renderer.end_id]
        sampled.append((chosen, [-float(next(numbers)) for _ in chosen]))
        told.append(Turn(transcript.act(*sampled[-1]), (Message("user", answer),)))
        transcript.observe(told[-1].observation)
    parent = Trajectory("0" * 32, Source.POLICY, tuple(told), transcript.segments(), StopReason.TERMINATED)

    start = data.draw(st.integers(0, len(turns) - 1))
    end = data.draw(st.integers(start + 1, len(turns)))
    anew = data.draw(st.sets(st.integers(start, end - 1), max_size=1))
    retold = tuple(
        Turn(Message("assistant", "another") if i in anew else told[i].action, (Message("user", "toward 9"),))
        for i in range(start, end)
    )
    episode = Episode(task_of(Message("user", "reach 9")), retold, start)
    segments = rerender(parent, episode, renderer)
    runs = choices_of(Trajectory("", Source.HINDSIGHT, retold, segments, StopReason.TERMINATED))
    another = renderer.action_ids(Message("assistant", "another"))
    for i, run in enumerate(runs, start):
        assert list(run.ids) == (list(another) if i in anew else sampled[i][0])
        assert run.logprobs is None or list(run.logprobs) == sampled[i][1]
    assert sum(s.behaviour_logprobs is None for s in segments) == len(anew)


def test_turns_without_their_tokens_are_an_error(tiny):
    (segment,), _ = transcribe(tiny, "q", [("a", "b")])
    turn = Turn(Message("assistant", "a"))
    with pytest.raises(ValueError, match="2 turns has 1 runs"):
        choices_of(Trajectory("", Source.POLICY, (turn, turn), (segment,), StopReason.TERMINATED))


def test_segments_hold_the_types_they_promise(tiny):
    transcript = Transcript(tiny, [Message("user", "q")])
    transcript.prompt_ids()
    transcript.act(np.array([5, tiny.end_id]), np.array([-0.5, -1.5], np.float32))
    (segment,) = transcript.segments()
    kinds = [a.dtype for a in (segment.prompt_ids, segment.completion_ids, segment.loss_mask)]
    assert kinds == [np.int32, np.int32, np.bool_]
    assert segment.behaviour_logprobs.dtype == np.float32
    assert Transcript(tiny, [Message("user", "q")]).segments() == ()
