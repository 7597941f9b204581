"""The dataset environment: columns, template, splits, demonstrations, and one clear line for bad data."""

import asyncio
import json
import sys

import pytest

from journeyman.agent.data import Message, Split, ToolCall
from journeyman.agent.errors import DataError, SettingsError
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin


def dataset(**options):
    return load_plugin(ENVIRONMENTS, "dataset", options)


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def capitals(count):
    return [{"question": f"Capital of country {i}?", "answer": f"City {i}"} for i in range(count)]


def test_columns_template_and_pattern_make_the_task(tmp_path):
    row = {"q": "6 x 7", "unit": "apples", "key": "so: #### 42 ", "steps": "6 x 7 = 42"}
    task_set = dataset(
        test=write(tmp_path / "a.jsonl", [row]),
        question="q",
        answer="key",
        solution="steps",
        prompt="How many {unit}: {question}? {{exactly}}",
        system="Count.",
        answer_pattern="#### (.+)",
        rubric={"number": 1.0, "pattern": 0.5},
    )
    (task,) = task_set.tasks(Split.TEST, seed=0)
    assert task.prompt == (Message("system", "Count."), Message("user", "How many apples: 6 x 7? {exactly}"))
    assert task.goal == "42"
    assert task.environment == "dataset"
    assert task_set.demonstrate(task) == (Message("assistant", "6 x 7 = 42"),)
    assert task_set.demonstrate(task, [Message("assistant", "41")]) is None
    assert json.loads(json.dumps(task.payload)) == task.payload
    assert task_set.rubric == {"number": 1.0, "pattern": 0.5}


def test_rows_without_a_goal(tmp_path):
    (task,) = dataset(test=write(tmp_path / "a.jsonl", [{"question": "Sing."}]), answer="").tasks(Split.TEST, 0)
    assert task.goal is None


def test_an_episode_is_one_turn(tmp_path):
    task_set = dataset(test=write(tmp_path / "a.jsonl", capitals(1)))
    (task,) = task_set.tasks(Split.TEST, seed=0)
    environment = task_set.open(task)
    assert asyncio.run(environment.start()).messages == task.prompt
    step = asyncio.run(environment.step(Message("assistant", "City 0")))
    assert (step.terminated, step.truncated, step.reward, step.observation.messages) == (True, False, None, ())
    assert task_set.max_turns == 1
    assert task_set.demonstrate(task) is None


def test_train_is_shuffled_by_the_seed_and_test_keeps_the_order_of_the_file(tmp_path):
    file = write(tmp_path / "a.jsonl", capitals(50))
    train = dataset(train=file, validation_fraction=0)
    first, again, other = ([t.goal for t in train.tasks(Split.TRAIN, seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other) == sorted(row["answer"] for row in capitals(50))
    assert [t.goal for t in dataset(test=file).tasks(Split.TEST, 1)] == [row["answer"] for row in capitals(50)]


def test_validation_carved_from_train_is_stable_and_disjoint(tmp_path):
    task_set = dataset(train=write(tmp_path / "a.jsonl", capitals(400)), validation_fraction=0.25)
    train, validation = (list(task_set.tasks(split, 0)) for split in (Split.TRAIN, Split.VALIDATION))
    assert len(train) + len(validation) == 400
    assert 70 <= len(validation) <= 130
    assert {t.split for t in validation} == {Split.VALIDATION}
    assert not {t.hash for t in train} & {t.hash for t in validation}
    more = dataset(train=write(tmp_path / "b.jsonl", capitals(500)[::-1]), validation_fraction=0.25)
    assert {t.hash for t in validation} <= {t.hash for t in more.tasks(Split.VALIDATION, 5)}


def test_held_out_rows_are_left_out_of_laxer_splits_and_repeats_dropped(tmp_path):
    rows = capitals(6)
    spaced = {**rows[5], "question": " Capital  of country 5?"}
    task_set = dataset(
        train=(write(tmp_path / "a.jsonl", rows), write(tmp_path / "a2.jsonl", rows[:3])),
        validation=write(tmp_path / "v.jsonl", rows[3:]),
        test=write(tmp_path / "t.jsonl", [spaced]),
    )
    goals = {split: sorted(t.goal for t in task_set.tasks(split, 0)) for split in set(Split) - {Split.GUARD}}
    assert goals == {
        Split.TRAIN: ["City 0", "City 1", "City 2"],
        Split.VALIDATION: ["City 3", "City 4"],
        Split.TEST: ["City 5"],
    }


def test_chat_rows_give_prompt_demonstration_and_optional_answer(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 x 7?"}]
    rows = [{"messages": [*chat, {"role": "assistant", "content": "42"}], "answer": 42}, {"messages": chat[1:]}]
    task_set = dataset(test=write(tmp_path / "a.jsonl", rows), messages="messages")
    first, second = task_set.tasks(Split.TEST, 0)
    assert [m.content for m in first.prompt] == ["Be brief.", "6 x 7?"]
    assert (first.goal, second.goal) == (42, None)
    assert task_set.demonstrate(first) == (Message("assistant", "42"),)
    assert task_set.demonstrate(second) is None


def test_a_chat_column_of_several_turns_needs_an_environment_of_as_many(tmp_path):
    call = {"type": "function", "function": {"name": "calculator", "arguments": '{"expression": "6*7"}'}}
    messages = [
        {"role": "user", "content": "6 x 7?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "42"},
    ]
    path = write(tmp_path / "chat.jsonl", [{"messages": messages, "answer": "42"}])
    with pytest.raises(DataError, match=r"chat.jsonl:1: 2 assistant messages, but an episode has 1 turns"):
        next(dataset(test=path, messages="messages").tasks(Split.TEST, 0))
    two_turns = load_plugin(ENVIRONMENTS, "gsm8k", {"test": path, "messages": "messages", "answer_pattern": ""})
    assert two_turns.demonstrate(next(two_turns.tasks(Split.TEST, 0))) == (
        Message("assistant", "", (ToolCall("calculator", {"expression": "6*7"}),)),
        Message("assistant", "42"),
    )


GOOD = '{"question": "q", "answer": "a"}'


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        ([GOOD, "", '{"question": '], {}, r"data.jsonl:3: not JSON: Expecting value"),
        ([GOOD, "[1]"], {}, r"data.jsonl:2: a row must be a JSON object, got list"),
        ([GOOD], {"question": "questoin"}, r"data.jsonl:1: no column 'questoin': did you mean 'question'\?"),
        ([GOOD], {"answer": "gold"}, r"data.jsonl:1: no column 'gold': known are question, answer"),
        ([GOOD], {"prompt": "{questio}"}, r"no column 'questio': did you mean 'question'\?"),
        ([GOOD], {"answer_pattern": "#### (.*)"}, r"data.jsonl:1: answer_pattern '#### \(\.\*\)' finds nothing"),
        ([GOOD], {"answer_pattern": "(no)|(never)"}, r"data.jsonl:1: answer_pattern '\(no\)\|\(never\)' finds nothing"),
        (['{"question": "q", "answer": "a", "s": 5}'], {"solution": "s"}, r"column 's' must be a str, got int"),
        ([], {}, r"environment 'dataset' has no test rows: set its option 'test'"),
        ([GOOD], {"messages": "messages"}, r"no column 'messages'"),
    ],
)
def test_bad_rows_name_file_line_and_remedy(tmp_path, lines, options, message):
    path = write(tmp_path / "data.jsonl", lines)
    with pytest.raises(DataError, match=message):
        dataset(test=path, **options).tasks(Split.TEST, 0)


def test_missing_files_name_the_nearest_one(tmp_path):
    write(tmp_path / "train.jsonl", [GOOD])
    with pytest.raises(
        DataError, match=r"cannot read .*trian.jsonl: No such file or directory; did you mean 'train.js"
    ):
        dataset(train=str(tmp_path / "trian.jsonl")).tasks(Split.TRAIN, 0)
    with pytest.raises(
        DataError, match=r"no validation rows: set its option 'validation' or raise 'validation_fraction'"
    ):
        dataset(train=str(tmp_path / "train.jsonl"), validation_fraction=0).tasks(Split.VALIDATION, 0)
    (tmp_path / "latin.jsonl").write_bytes(b'{"question": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"latin.jsonl: not UTF-8 text"):
        dataset(train=str(tmp_path / "latin.jsonl")).tasks(Split.TRAIN, 0)
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        dataset(train=str(tmp_path)).tasks(Split.TRAIN, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, r"option 'validation_fraction' must be in \[0, 1\), got 1.0"),
        ({"answer_pattern": "("}, r"option 'answer_pattern': missing \)"),
        ({"prompt": "{question"}, r"option 'prompt': .* write \{\{ and \}\} for braces"),
        ({"prompt": '{"q": 1}'}, r"option 'prompt': .* may hold only \{column\}"),
        ({"prompt": "{}"}, r"may hold only \{column\}"),
        ({"trian": "x"}, r"no option 'trian': did you mean 'train'\?"),
        ({"train": 5}, r"option 'train"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(SettingsError, match=message):
        dataset(**options)


def test_hub_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SettingsError, match=r"option 'hub' \('org/name'\) needs the package 'datasets': pip install"):
        dataset(hub="org/name", train="train").tasks(Split.TRAIN, 0)


def test_hub_reads_splits_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train.jsonl", capitals(3))
    write(tmp_path / "data" / "test.jsonl", capitals(5)[3:])
    task_set = dataset(hub=str(tmp_path / "data"), train="train", test="test", validation_fraction=0)
    assert sorted(t.goal for t in task_set.tasks(Split.TRAIN, 0)) == ["City 0", "City 1", "City 2"]
    assert [t.goal for t in task_set.tasks(Split.TEST, 0)] == ["City 3", "City 4"]
    wrong = dataset(hub=str(tmp_path / "data"), train="trian")
    with pytest.raises(DataError, match=r"cannot load split 'trian' of"):
        wrong.tasks(Split.TRAIN, 0)


def test_the_answer_is_the_first_group_that_took_part(tmp_path):
    path = write(tmp_path / "data.jsonl", ['{"question": "q", "answer": "it is 12 m"}'])
    options = {"test": path, "answer_pattern": "([a-z]+):|([0-9]+)"}
    (task,) = load_plugin(ENVIRONMENTS, "dataset", options).tasks(Split.TEST, 0)
    assert task.goal == "12"
