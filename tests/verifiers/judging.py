"""A judge that a test asks, and what the model behind it answers."""

import json
import re

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.plugins import VERIFIERS, load_plugin

FORM = re.compile(r"^VERDICT ([0-9a-f]{12}): X$", re.MULTILINE)


def task_of(goal="4", **payload):
    return Task("dataset", goal, (Message("user", "What is 2 + 2?"),), Split.TRAIN, "0" * 32, payload)


def says(*texts):
    turns = tuple(Turn(Message("assistant", text)) for text in texts)
    return Trajectory("0" * 32, Source.POLICY, turns, (), StopReason.TERMINATED)


def judge(server, **options):
    return load_plugin(VERIFIERS, "judge", {"url": server.url, "model": "fake", "timeout": 10, **options})


def verdict(server, text, task=None, **options):
    (found,) = judge(server, **options).verify_all([(task or task_of(), says(text))])
    return found


def prompt_of(body):
    return body["messages"][-1]["content"]


def ruling(choice, reasons="Because."):
    """Answers in the asked form; `choice` is the verdict, or what makes it of the prompt."""

    def answer(body, number):
        said = choice(prompt_of(body)) if callable(choice) else choice
        return f"{reasons}\nVERDICT {FORM.search(prompt_of(body))[1]}: {said}"

    return answer


def section(prompt, name):
    return re.search(rf"^<<<{name} (\w+)>>>\n(.*)\n<<<END {name} \1>>>$", prompt, re.DOTALL | re.MULTILINE)[2]


def structured(verdict, **changes):
    def answer(body, number):
        nonce = body["response_format"]["json_schema"]["schema"]["properties"]["nonce"]["enum"][0]
        return json.dumps({"reasons": "So.", "nonce": nonce, "verdict": verdict} | changes)

    return answer
