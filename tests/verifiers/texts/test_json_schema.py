"""Answers that must be JSON of a given form."""

import json

import pytest

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.verifiers.texts.json_schema import JsonSchema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
GOLD = '{"name": "Ann", "age": 3}'


def judge(text, goal=None, payload=None, **options):
    task = Task("dataset", goal, (Message("user", "?"),), Split.TEST, "0" * 32, payload or {})
    trajectory = Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)
    return load_plugin(VERIFIERS, "json_schema", options).verify(task, trajectory)


@pytest.mark.parametrize(
    ("text", "where", "score", "why"),
    [
        (GOLD, "auto", 1, None),
        (GOLD, "whole", 1, None),
        (f" \n{GOLD}\n", "auto", 1, None),
        (f"Here:\n```json\n{GOLD}\n```\nDone.", "auto", 1, None),
        (f"```\n{{}}\n```\n```\n{GOLD}\n```", "fenced", 1, None),
        (f"```\n{GOLD}\n```\n```\n{{}}\n```", "auto", 0, "$: 'name' is a required property"),
        (f"Here:\n```json\n{GOLD}\n```", "whole", 0, "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (GOLD, "fenced", 0, "not JSON: no fenced block"),
        (f"```json\n{GOLD}", "fenced", 1, None),
        (f"```json\n{GOLD[:9]}", "auto", 0, "not JSON: Expecting value: line 1 column 10 (char 9)"),
        (json.dumps({"name": "```\n{}\n```"}), "auto", 1, None),
        ('{"name": ""}', "auto", 0, "$.name: '' should be non-empty"),
        ('{"name": "Ann", "age": "3"}', "auto", 0, "$.age: '3' is not of type 'integer'"),
        ('{"name": "Ann", "nmae": 1}', "auto", 0, "$: 'nmae' is no property it may have"),
        ('{"name": "Ann", "name": "Ben"}', "auto", 0, "not JSON: a key stands twice in an object"),
        ('{"name": "Ann", "age": NaN}', "auto", 0, "not JSON: NaN is not a finite number"),
        ("", "auto", 0, "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("Ann is 3.", "auto", 0, "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[" * 10**6, "auto", 0, "not JSON: deeper than 64"),
        ("\ud800\x00", "auto", 0, "not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
    ids=range(20),
)
def test_gold_is_1_and_all_else_0_with_the_reason(text, where, score, why):
    first, second = judge(text, schema=PERSON, where=where), judge(text, schema=PERSON, where=where)
    assert first == second
    assert (first.status, first.score, first.explanation) == (Status.OK, score, why)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f"```json\n{GOLD}\n```\nRun this:\n```bash\ncurl localhost\n```", 1),
        (f"```JSON\n{GOLD}\n```\n```\noutput\n```", 1),
        (f"```Json title=a.json\n{GOLD}\n```\n```python\nprint(1)\n```\nThat is all.", 1),
        (f"~~~json\n{GOLD}\n~~~\n~~~sh\nls\n~~~", 1),
        (f"1. So:\n\n   ```json\n   {GOLD}\n   ```\n2. Then:\n\n   ```bash\n   ls\n   ```", 1),
        (f"> ```json\n> {GOLD}\n> ```\n\n```bash\nls\n```", 1),
        (f"```\n{GOLD}\n```\n```bash\ncurl localhost\n```", 1),
        (f"```javascript\n{GOLD}\n```\n```\nok\n```", 1),
        (f"```jsonc\n{GOLD}\n```", 1),
        (f"```json5\n{{name: 'Ann'}}\n```\n```json\n{GOLD}\n```", 1),
        (f"```json\n{GOLD}\n```\n```json5\n{{name: 'Ann'}}\n```", 1),
        (f"```json\n{{}}\n```\n```json\n{GOLD}\n```", 1),
        (f"```json\n{GOLD}\n```\n```bash\ncurl local", 1),
        (f"```json\n{GOLD}\n```\n```", 1),
        (f"````markdown\n```json\n{{}}\n```\n````\n```json\n{GOLD}\n```", 1),
        (f"```json\n{GOLD}\n```\n```json\n{{}}\n```", 0),
        (f"```json\n{GOLD}\n```\n```json\n{GOLD[:9]}", 0),
        (f"```\n{GOLD}\n```\n```json\nnone\n```", 0),
        ('```jsonc\n{"name": "Ann"} // a comment\n```', 0),
        ("```bash\nls\n```", 0),
    ],
    ids=range(20),
)
def test_the_last_block_of_json_is_the_answer(text, score):
    assert judge(text, schema=PERSON).score == score
    assert judge(text.replace("\n", "\r\n"), schema=PERSON, where="fenced").score == score


def test_what_was_read_is_shown():
    assert judge(f"So:\n```\n{GOLD}\n```", schema=PERSON).extracted == GOLD


def test_the_schema_is_from_options_or_payload_or_goal(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(PERSON))
    assert judge("{}", schema=str(file)).score == 0
    assert judge(GOLD, schema=str(file)).score == 1
    assert judge("{}", goal=PERSON).score == 0
    assert judge("{}", goal=json.dumps(PERSON)).score == 0
    assert judge("{}", goal=42, payload={"schema": PERSON}).score == 0
    assert judge("{}", goal=PERSON, schema={"type": "object"}).score == 1
    assert judge("{}").status is Status.ABSTAIN
    with pytest.raises(ValueError, match="a JSON schema is an object, got int"):
        judge("{}", goal=42)


def test_a_check_that_takes_for_ever_is_a_timeout():
    verdict = judge(json.dumps("a" * 40 + "b"), schema={"pattern": "^(a|a)+$"})
    assert (verdict.status, verdict.score) == (Status.TIMEOUT, None)
    assert verdict.explanation == "the check took over 0.5 s"


def test_bad_options_are_named(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    for schema, why in [
        ({"type": "strin"}, r"option 'schema': \$\.type: 'strin' is not valid"),
        ({"$ref": "https://example.org"}, "option 'schema': 'https://example.org' is not in the schema"),
        (str(tmp_path / "none.json"), "none.json' cannot be read: No such file"),
        (str(tmp_path / "bad.json"), "option 'schema': Expecting property name"),
    ]:
        with pytest.raises(SettingsError, match=why):
            JsonSchema(schema)
    with pytest.raises(SettingsError, match="option 'where"):
        judge("", where="inside")
