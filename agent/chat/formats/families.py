"""The table of all formats: what is unmistakable first, what has no marks last."""

from __future__ import annotations

from collections.abc import Mapping

from journeyman.agent.chat.formats.braced import Braced
from journeyman.agent.chat.formats.json_calls import BareJson, JsonCalls, Keys, NameIsKey
from journeyman.agent.chat.formats.named_json import NamedJson
from journeyman.agent.chat.formats.positional import Positional
from journeyman.agent.chat.formats.pythonic import BarePythonic, Pythonic, PythonTag
from journeyman.agent.chat.formats.reading import Syntax
from journeyman.agent.chat.formats.tagged import Tagged

_PARAMETERS = Keys(arguments="parameters")

_DEEPSEEK_BEGINS = "<｜tool▁calls▁begin｜>\\s*(?:<｜tool▁call▁begin｜>)?|<｜tool▁call▁begin｜>"
_DEEPSEEK_ENDS = "<｜tool▁call▁end｜>(?:\\s*<｜tool▁calls▁end｜>)?"
_DEEPSEEK_BLOCK = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
_DEEPSEEK_V3 = NamedJson(
    opening="<｜tool▁call",
    head="<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n",
    begins=_DEEPSEEK_BEGINS,
    names="\\s*function\\s*<｜tool▁sep｜>@\\s*```(?:json)?\\s*",
    ends=f"```\\s*{_DEEPSEEK_ENDS}",
    tail="\n```<｜tool▁call▁end｜>",
    block=_DEEPSEEK_BLOCK,
    gap="\n",
)
_DEEPSEEK_V31 = NamedJson(
    opening="<｜tool▁call",
    head="<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>",
    begins=_DEEPSEEK_BEGINS,
    names="\\s*@\\s*<｜tool▁sep｜>\\s*",
    ends=_DEEPSEEK_ENDS,
    tail="<｜tool▁call▁end｜>",
    block=_DEEPSEEK_BLOCK,
)
_DEEPSEEK_V32 = Tagged(
    begin='<｜DSML｜invoke name="{name}">\n',
    parameter='<｜DSML｜parameter name="{key}" string="{string}">{value}</｜DSML｜parameter>\n',
    end="</｜DSML｜invoke>\n",
    block=("<｜DSML｜function_calls>\n", "</｜DSML｜function_calls>"),
)
_KIMI_K2 = NamedJson(
    opening="<|tool_call",
    head="<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>",
    begins=r"<\|tool_calls_section_begin\|>\s*(?:<\|tool_call_begin\|>)?|<\|tool_call_begin\|>",
    names=r"\s*(?:functions\.)?@(?::\d{1,6})?\s*<\|tool_call_argument_begin\|>\s*",
    ends=r"<\|tool_call_end\|>(?:\s*<\|tool_calls_section_end\|>)?",
    tail="<|tool_call_end|>",
    block=("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
)
_HARMONY = NamedJson(
    opening="to=functions.",
    head=" to=functions.{name}<|channel|>commentary json<|message|>",
    begins=r"(?:<\|start\|>assistant)?(?:<\|channel\|>\w{1,20})? ?to=functions\.",
    names=r"@[^<{]{0,40}(?:<\|channel\|>[^<{]{0,40})?(?:<\|constrain\|>[^<{]{0,20})?<\|message\|>\s*",
    ends=r"<\|call\|>|\Z",  # the mark is a stop token, which is no part of the text that was sampled
    tail="<|call|>",
    single=True,
)
_MISTRAL = NamedJson(
    opening="[TOOL_CALLS]",
    head="[TOOL_CALLS]{name}[ARGS]",
    begins=r"\[TOOL_CALLS\]",
    names=r"\s*@(?:\[CALL_ID\]\w{0,64})?(?:\[ARGS\])?\s*",
)


def _invoke(prefix: str, block: str, *, padded: bool = False, each: bool = False) -> Tagged:
    """`<invoke name="..."><parameter name="...">` in a block, all tags with a prefix."""
    break_ = "\n" if padded else ""
    return Tagged(
        begin=f'<{prefix}invoke name="{{name}}">\n',
        parameter=f'<{prefix}parameter name="{{key}}">{break_}{{value}}{break_}</{prefix}parameter>\n',
        end=f"</{prefix}invoke>\n",
        block=(f"<{block}>\n", f"</{block}>"),
        each=each,
    )


_STEP3 = Tagged(
    begin='<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="{name}">',
    parameter='<steptml:parameter name="{key}">{value}</steptml:parameter>',
    end="</steptml:invoke><｜tool_call_end｜>",
    block=("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"),
)
_QWEN3_CODER = Tagged(
    begin="<function={name}>\n",
    parameter="<parameter={key}>\n{value}\n</parameter>\n",
    end="</function>\n",
    block=("<tool_call>\n", "</tool_call>"),
    each=True,
    loose=True,
)
_SEED_OSS = Tagged(
    begin="<function={name}>\n",
    parameter="<parameter={key}>{value}</parameter>\n",
    end="</function>\n",
    block=("<seed:tool_call>\n", "</seed:tool_call>"),
    each=True,
)
_GLM = Tagged(
    begin="<tool_call>{name}\n",
    parameter="<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n",
    end="</tool_call>",
)

FAMILIES: Mapping[str, Syntax] = {
    "harmony": _HARMONY,
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v31": _DEEPSEEK_V31,
    "deepseek_v32": _DEEPSEEK_V32,
    "kimi_k2": _KIMI_K2,
    "mistral": _MISTRAL,
    "mistral_json": JsonCalls("[TOOL_CALLS]", listed=True),
    "gemma4": Braced("<|tool_call>", "<tool_call|>", '<|"|>'),
    "function_gemma": Braced("<start_function_call>", "<end_function_call>", "<escape>"),
    "minimax_m2": _invoke("", "minimax:tool_call"),
    "muse": _invoke("atem:", "atem:function_calls", each=True),
    "dots": _invoke("", "dots_function_call"),
    "step3": _STEP3,
    "seed_oss": _SEED_OSS,
    "qwen3_coder": _QWEN3_CODER,
    "glm": _GLM,
    "hermes": JsonCalls("<tool_call>", "</tool_call>", pad="\n"),
    "positional": Positional(),
    "longcat": JsonCalls("<longcat_tool_call>", "</longcat_tool_call>", pad="\n"),
    "lfm2": Pythonic("<|tool_call_start|>", "<|tool_call_end|>"),
    "llama4": Pythonic("<|python_start|>", "<|python_end|>"),
    "olmo3": Pythonic("<function_calls>", "</function_calls>", lines=True),
    "nemotron": JsonCalls("<TOOLCALL>", "</TOOLCALL>", listed=True),
    "jamba": JsonCalls("<tool_calls>", "</tool_calls>", listed=True),
    "minimax_m1": JsonCalls("<tool_calls>", "</tool_calls>", pad="\n", lines=True),
    "phi4_mini": JsonCalls("<|tool_call|>", "<|/tool_call|>", listed=True),
    "granite": JsonCalls("<|tool_call|>", listed=True),
    "granite_20b": JsonCalls("<function_call>"),
    "functools": JsonCalls("functools[", listed=True, kept=1),
    "gigachat": JsonCalls("<|function_call|>"),
    "cohere": JsonCalls(
        "<|START_ACTION|>",
        "<|END_ACTION|>",
        Keys("tool_name", "parameters", number="tool_call_id"),
        listed=True,
        pad="\n",
    ),
    "internlm2": JsonCalls(
        "<|action_start|><|plugin|>", "<|action_end|>", Keys(arguments="parameters", also="arguments"), pad="\n"
    ),
    "apertus": JsonCalls("<|tools_prefix|>", "<|tools_suffix|>", NameIsKey(), listed=True),
    "llama3_python": PythonTag(),
    "llama3_json": BareJson(_PARAMETERS),
    "json_object": BareJson(Keys()),
    "json_list": BareJson(Keys(), listed=True),
    "pythonic": BarePythonic(),
}
"""A format is known by its name in `ToolFormat`."""
