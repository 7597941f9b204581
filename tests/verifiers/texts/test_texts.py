"""Texts judged by equality and by pattern."""

import re
import time
import tomllib
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journeyman.agent.data import Message, Source, Split, Status, StopReason, Task, Trajectory, Turn
from journeyman.agent.errors import SettingsError
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.verifiers.rubric import Rubric, Term


def judge(name, goal, text, **options):
    task = Task("dataset", goal, (Message("user", "?"),), Split.TEST, "0" * 32)
    trajectory = Trajectory(task.hash, Source.POLICY, (Turn(Message("assistant", text)),), (), StopReason.TERMINATED)
    return verifier(name, **options).verify(task, trajectory)


@cache
def verifier(name, **options):
    return load_plugin(VERIFIERS, name, options)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(min_size=1).filter(str.strip), st.text())
def test_exact_gold_is_1_and_other_text_0(goal, other):
    assert judge("exact", goal, f" {goal}\n").score == 1
    assert judge("exact", goal, "").score == 0
    assert judge("exact", goal, f"{goal}{other}").score == float((goal + other).strip() == goal.strip())


def test_exact_goals_that_are_not_text_are_compared_as_json():
    assert judge("exact", 42, "42").score == 1
    assert judge("exact", [1, "a"], '[1, "a"]').score == 1
    assert judge("exact", None, "42").status is Status.ABSTAIN


def test_a_pattern_without_a_group_checks_the_form():
    pattern = r"^<think>.*</think>\s*\S"
    assert judge("pattern", None, "<think>a\nb</think> c", pattern=pattern).score == 1
    assert judge("pattern", "d", "<think>a\nb</think> c", pattern=pattern).score == 1
    assert judge("pattern", None, "c", pattern=pattern).score == 0
    assert judge("pattern", None, "", pattern=pattern).score == 0


def test_a_pattern_with_a_group_compares_its_last_match_with_the_goal():
    pattern = r"<answer>(.*?)</answer>"
    text = "<answer>Rome</answer> no, <answer>\nParis </answer>"
    right = judge("pattern", "Paris", text, pattern=pattern)
    assert (right.score, right.extracted, right.expected) == (1, "Paris", "Paris")
    assert judge("pattern", "Rome", text, pattern=pattern).score == 0
    assert judge("pattern", "Paris", "Paris", pattern=pattern).score == 0
    assert judge("pattern", None, text, pattern=pattern).status is Status.ABSTAIN
    assert judge("pattern", "Paris", "b", pattern="(a)|b").score == 0


def test_a_search_that_blows_up_is_a_timeout_in_bounded_time():
    start = time.perf_counter()
    verdict = judge("pattern", None, "a" * 40 + "b", pattern=r"^(?:(?:a|a)+)+$", timeout=0.2)
    assert (verdict.status, verdict.score) == (Status.TIMEOUT, None)
    assert verdict.explanation == "the search took over 0.2 s"
    assert time.perf_counter() - start < 5


def test_bad_options_are_named():
    with pytest.raises(SettingsError, match=r"option 'pattern': missing \) .* in '\('"):
        judge("pattern", None, "", pattern="(")
    with pytest.raises(SettingsError, match="option 'timeout' must be above 0 seconds"):
        judge("pattern", None, "", pattern="a", timeout=0)
    with pytest.raises(SettingsError, match="above 0 seconds and finite, got inf"):
        judge("pattern", None, "", pattern="a", timeout=float("inf"))


def test_the_rubrics_of_the_page_are_rubrics(tmp_path, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "texts.md").read_text()
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "unsafe.txt").write_text("poison\n")
    monkeypatch.chdir(tmp_path)
    shown = set()
    for example in map(tomllib.loads, re.findall(r"```toml\n(.*?)```\n", page, re.DOTALL)):
        terms = {name: Term(**term) if isinstance(term, dict) else term for name, term in example["rubric"].items()}
        rubric = Rubric.build(terms, example["verifiers"])
        shown |= {criterion.id.name for criterion in rubric.criteria}
    assert shown >= {"exact", "pattern", "constraints", "json_schema", "safety", "tools"}
    assert shown >= {"length", "latency", "cost", "repetition"}
