"""Families' own chat templates, as trl ships them: what a demonstration's tokens are, where turns end, what is seen."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.chat.rendering import Transcript, render_episode, rewritings
from journeyman.agent.data import Episode, Message, Split, Task, Tool, ToolCall, Turn
from journeyman.agent.errors import SettingsError

LOOK = Tool("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
ASKED, SHOWN = Message("user", "Is it?"), Message("tool", 'It "is"\n& <so>.', call_id="")
ANSWER = Message("assistant", "Yes.")
CALL = Message("assistant", "", (ToolCall("look", {"at": "it"}),))
THOUGHT = "Is it, then?"

CONTROL = {
    "deepseek_r1_distill": ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>"],
    "gemma3": ["<start_of_turn>", "<end_of_turn>"],
    "gemma4": ["<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", '<|"|>'],
    "glm4moe": ["<|user|>", "<|assistant|>", "<|observation|>", "<|system|>", "<think>", "</think>", "</tool_call>"],
    "gptoss": ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>"],
    "llama3_1": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"],
    "phi3": ["<|user|>", "<|assistant|>", "<|end|>", "<|system|>"],
    "qwen2_5": ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"],
    "qwen3": ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"],
    "qwen3_5_think": ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"],
}
"""The special tokens of the families' tokenizers."""


def template(name):
    try:
        path = Path(str(distribution("trl").locate_file(f"trl/chat_templates/{name}.jinja")))
    except PackageNotFoundError:
        pytest.skip("trl is not installed, whose chat templates these are")
    if not path.is_file():
        pytest.skip(f"this version of trl has no template {name}")
    return path.read_text()


@pytest.fixture(scope="module")
def merged():
    """A byte-level tokenizer with merges, two line breaks among them, that cuts texts much as Llama 3 and Qwen do."""
    core = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(r"\p{L}+| ?[^\s\p{L}]+[\r\n]*|\s*[\r\n]+|\s+"), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    core.decoder = decoders.ByteLevel()
    letters = ByteLevel.alphabet()
    told = ["assistant user system tool look at it\n\n", "Yes. Is it, then?\n\n", '{"name": "look"}\n'] * 20
    core.train_from_iterator(told, trainers.BpeTrainer(vocab_size=400, initial_alphabet=letters, show_progress=False))
    return core.to_str()


@pytest.fixture(scope="module")
def family(merged):
    made = {}

    def renderer(name, **options):
        key = name, str(options)
        if key not in made:
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(merged), eos_token="<|endoftext|>")
            tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL[name]])
            tokenizer.chat_template = template(name)
            made[key] = Renderer(tokenizer, **options)
        return made[key]

    return renderer


HERMES = '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'
HARMONY = "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
CASES = {
    "qwen2_5": ("Yes.<|im_end|>", '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call><|im_end|>'),
    "qwen3": (
        "<think>\n\n</think>\n\nYes.<|im_end|>",
        '<think>\n\n</think>\n\n<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call><|im_end|>',
    ),
    "qwen3_5_think": (
        "\n\n</think>\n\nYes.<|im_end|>",  # its first line break is the prompt's: both are one token
        "\n\n</think>\n\n<tool_call>\n<function=look>\n<parameter=at>\nit\n</parameter>\n</function>\n</tool_call><|im_end|>",
    ),
    "llama3_1": ("Yes.<|eot_id|>", '{"name": "look", "parameters": {"at": "it"}}<|eot_id|>'),
    "glm4moe": (
        "\n<think></think>\nYes.<|user|>",
        "\n<think></think>\n<tool_call>look\n<arg_key>at</arg_key>\n<arg_value>it</arg_value>\n</tool_call><|observation|>",
    ),
    "gptoss": (
        "<|channel|>final<|message|>Yes.<|return|>",
        ' to=functions.look<|channel|>commentary json<|message|>{"at": "it"}<|call|>',
    ),
    "gemma4": ("Yes.<turn|>", '<|tool_call>call:look{at:<|"|>it<|"|>}<tool_call|><|tool_response>'),
    "gemma3": (
        "Yes.<end_of_turn>",
        '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call><end_of_turn>',
    ),
    "phi3": ("Yes.<|end|>", f"{HERMES}<|end|>"),
}
"""What an answer and a call are, after the prompt."""


@pytest.mark.parametrize("name", CASES)
def test_a_demonstration_is_what_the_family_says(family, name):
    renderer = family(name)
    answer, call = CASES[name]
    assert renderer.decode(renderer.action_ids(ANSWER)) == answer
    assert renderer.decode(renderer.action_ids(CALL, [LOOK])) == call
    for ids, action in ((renderer.action_ids(ANSWER), ANSWER), (renderer.action_ids(CALL, [LOOK]), CALL)):
        assert ids[-1] in renderer.stop_ids
        read = renderer.parse(ids, [LOOK])
        assert (read.tool_calls, read.thought) == (action.tool_calls, "")
        assert action.tool_calls or read.content == "Yes."


@pytest.mark.parametrize("name", CASES)
def test_every_observation_is_in_the_prompt(family, name):
    renderer = family(name)
    transcript = Transcript(renderer, [Message("system", "Be sure."), ASKED], [LOOK])
    for action, shown in ((CALL, SHOWN), (ANSWER, Message("user", "Sure?")), (ANSWER, Message("tool", "No call."))):
        transcript.prompt_ids()
        transcript.act(transcript.expert_ids(action), None)
        transcript.observe([shown])
    text = renderer.decode(transcript.prompt_ids()).replace('\\"', '"').replace("\\n", "\n")
    for told in ("Be sure.", "Is it?", 'It "is"', "& <so>.", "Sure?", "No call."):
        assert text.count(told) == 1


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "glm4moe", "gptoss"])
def test_the_tokens_of_a_whole_episode_are_those_of_one_text(family, name):
    """A piece tokenised apart may differ from the whole: two line breaks are one token here."""
    renderer = family(name)
    thoughtful = Message("assistant", "Yes.", thought=THOUGHT)
    for action in (ANSWER, thoughtful, CALL):
        tools = [LOOK] if action.tool_calls else []
        task = Task("toy", None, (ASKED,), Split.TRAIN, "0" * 32)
        (segment,) = render_episode(Episode(task, (Turn(action),), 0), renderer, tools)
        ids = (*segment.prompt_ids.tolist(), *segment.completion_ids.tolist())
        assert ids == renderer.encode(renderer.decode(ids))
        whole = renderer.conversation([ASKED, action], tools, answer=False)
        assert renderer.encode(whole)[: len(ids) - 1] == ids[:-1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("qwen3", f"<think>\n{THOUGHT}\n</think>\n\nYes.<|im_end|>"),
        ("qwen3_5_think", f"{THOUGHT}\n</think>\n\nYes.<|im_end|>"),
        ("deepseek_r1_distill", f"{THOUGHT}\n</think>\n\nYes.<｜end▁of▁sentence｜>"),
        ("glm4moe", f"\n<think>{THOUGHT}</think>\nYes.<|user|>"),
        ("gptoss", f"{HARMONY[0]}{THOUGHT}{HARMONY[1]}Yes.<|return|>"),
        ("qwen2_5", f"<think>\n{THOUGHT}\n</think>\n\nYes.<|im_end|>"),
    ],
)  # fmt: skip
def test_thought_and_answer_are_apart(family, name, text):
    renderer = family(name)
    ids = renderer.action_ids(Message("assistant", "Yes.", thought=THOUGHT))
    assert renderer.decode(ids) == text
    read = renderer.parse(ids)
    assert (read.content, read.thought) == ("Yes.", THOUGHT)
    assert len(renderer.decode(ids[: read.thought_tokens])) >= text.index(THOUGHT) + len(THOUGHT)
    assert "Yes." in renderer.decode(ids[read.thought_tokens :])


def test_a_call_inside_a_thought_is_not_made(family):
    renderer = family("qwen3")
    call = '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'
    for text, made in ((f"<think>\n{call}\n</think>\n\nYes.", 0), (f"<think>\n{call}\n</think>\n\n{call}", 1)):
        assert len(renderer.parse([*renderer.encode(text), renderer.end_id], [LOOK]).tool_calls) == made
    unended = renderer.parse(renderer.encode(f"<think>\nSo {call}"), [LOOK])
    assert (unended.tool_calls, unended.content) == ((), "")


def test_settings_of_the_template_are_passed_on(family):
    thinking, quiet = family("qwen3"), family("qwen3", template_arguments={"enable_thinking": False})
    assert quiet.conversation([ASKED]) == thinking.conversation([ASKED]) + "<think>\n\n</think>\n\n"
    thoughtful = Message("assistant", "Yes.", thought=THOUGHT)  # the prompt says that there is none
    assert quiet.decode(quiet.action_ids(thoughtful)) == "Yes.<|im_end|>"
    with pytest.raises(SettingsError, match=r"reads no 'enable_thinkin'.*did you mean 'enable_thinking'"):
        family("qwen3", template_arguments={"enable_thinkin": False})


def test_stop_tokens_are_those_of_all_who_name_some(family):
    def stops(name, **options):
        renderer = family(name, **options)
        return {renderer.tokenizer.convert_ids_to_tokens(i) for i in renderer.stop_ids}

    assert stops("llama3_1") == {"<|eot_id|>", "<|eom_id|>", "<|endoftext|>"}
    assert stops("gptoss") == {"<|return|>", "<|call|>", "<|endoftext|>"}
    assert stops("glm4moe") == {"<|user|>", "<|observation|>", "<|endoftext|>"}
    assert stops("gemma4") == {"<turn|>", "<|tool_response>", "<|endoftext|>"}
    assert stops("phi3", stop_ids=[65]) - stops("phi3") == {family("phi3").tokenizer.convert_ids_to_tokens(65)}


def test_what_a_template_rewrites_is_known(family):
    assert rewritings(family("qwen2_5")) == []
    assert "an answer with a thought" in rewritings(family("qwen3"))
    assert rewritings(family("gptoss")) == ["an answer", "an answer with a thought"]


def test_a_token_that_strips_what_follows_it(merged):
    """Phi-3's end of turn takes the line break after it: tokenised with it, the break is no token of its own."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(merged), eos_token="<|endoftext|>")
    stripping = [AddedToken(t, special=True, normalized=False, rstrip=True) for t in CONTROL["phi3"]]
    tokenizer.add_tokens(stripping)
    tokenizer.chat_template = template("phi3")
    renderer = Renderer(tokenizer)
    transcript = Transcript(renderer, [ASKED])
    transcript.prompt_ids()
    transcript.act(transcript.expert_ids(ANSWER), None)
    transcript.observe([Message("user", "Sure?")])
    ids = transcript.prompt_ids()
    assert tuple(ids) == renderer.encode(renderer.conversation([ASKED, ANSWER, Message("user", "Sure?")]))
    assert not transcript.began_anew
