"""The judge: scores, what is dropped, structured answers, options, and a real server."""

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from judging import FORM, judge, prompt_of, ruling, says, section, structured, task_of, verdict

from journeyman.agent.data import Status
from journeyman.agent.errors import SettingsError, UnknownNameError
from journeyman.agent.models import make_tiny
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.agent.protocols import BatchVerifier
from journeyman.agent.sampling.factory import installed_vllm
from journeyman.verifiers.judges import prompts as judge_prompts
from journeyman.verifiers.judges.asking import PLAIN_ATTEMPT


def test_it_is_a_batch_verifier_and_shows_rubric_task_and_attempt(chat_server):
    chat_server.answer = ruling("7")
    built = judge(chat_server, rubric="Is it polite?", reference="gold")
    assert isinstance(built, BatchVerifier)
    (found,) = built.verify_all([(task_of(gold=[4]), says("Four, dear.", "Really."))])
    assert (found.status, found.raw, found.extracted, found.expected) == (Status.OK, 7, "7", "[4]")
    assert found.score == pytest.approx(6 / 9)
    assert found.explanation == "said 7; mean 7, spread 0; Because."
    (body,) = chat_server.bodies
    system, user = (message["content"] for message in body["messages"])
    assert system.endswith("\n\nIs it polite?")
    assert section(user, "TASK") == "What is 2 + 2?"
    assert section(user, "REFERENCE ANSWER") == "[4]"
    assert re.fullmatch(r"<<<assistant (\w+)>>>\nFour, dear.\n<<<assistant \1>>>\nReally.", section(user, "ATTEMPT"))
    assert user.endswith("where X is a whole number from 1, the worst, to 10, the best.")
    assert (body["temperature"], body["max_tokens"]) == (0, 1024)


@pytest.mark.parametrize(("choice", "scale", "score"), [("1", [1, 10], 0), ("10", [1, 10], 1), ("-1", [-2, 2], 0.25)])
def test_the_scale_becomes_0_to_1(chat_server, choice, scale, score):
    chat_server.answer = ruling(choice)
    found = verdict(chat_server, "4", scale=scale)
    assert (found.score, found.raw) == (score, int(choice))


def test_samples_are_averaged_and_their_spread_is_told(chat_server):
    chat_server.answer = lambda body, number: ruling(str([2, 4, 9][number]), "")(body, number)
    found = verdict(chat_server, "4", samples=3, concurrency=1)
    assert (found.raw, found.extracted) == (5, "2, 4, 9")
    assert found.score == pytest.approx(4 / 9)
    assert found.explanation == "said 2, 4, 9; mean 5, spread 2.944"  # sqrt(26 / 3)
    assert len({body["seed"] for body in chat_server.bodies}) == 3


def test_the_same_is_asked_in_the_same_words_on_repeat(chat_server):
    chat_server.answer = ruling("3")
    attempts = [(task_of(), says(text)) for text in ("4", "5", "4")]
    first = judge(chat_server, samples=2).verify_all(attempts)
    bodies = sorted(map(json.dumps, chat_server.bodies))
    assert judge(chat_server, samples=2).verify_all(attempts) == first
    assert sorted(map(json.dumps, chat_server.bodies)) == sorted(bodies * 2)
    assert verdict(chat_server, "4", seed=1).score == first[0].score
    assert json.dumps(chat_server.bodies[-1]) not in bodies


def test_a_permuted_batch_permutes_its_verdicts(chat_server):
    chat_server.answer = ruling(lambda prompt: str(len(section(prompt, "ATTEMPT"))))
    attempts = [(task_of(), says("x" * n)) for n in (3, 0, 1, 2)]
    found = judge(chat_server).verify_all(attempts)
    assert [v.raw for v in found] == [3, None, 1, 2]
    assert judge(chat_server).verify_all(attempts[::-1]) == found[::-1]
    assert judge(chat_server).verify_all([]) == []


def test_it_judges_from_a_thread_and_from_a_running_loop(chat_server):
    chat_server.answer = ruling("7")
    here = verdict(chat_server, "4")

    async def ask():
        return verdict(chat_server, "4")

    assert asyncio.run(ask()) == here
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(verdict, chat_server, "4").result() == here


@pytest.mark.parametrize("text", [" \n", "", "\u200b\u2060 \u3164"])
def test_an_attempt_that_says_nothing_is_0_unasked(chat_server, text):
    found = verdict(chat_server, text)
    assert (found.status, found.score, found.explanation) == (Status.OK, 0, "the attempt says nothing")
    assert chat_server.bodies == []


@pytest.mark.parametrize(
    "said",
    [
        "10",
        "VERDICT: 10",
        "VERDICT {wrong}: 10",
        "VERDICT {nonce}: 11",
        "VERDICT {nonce}: 0",
        "VERDICT {nonce}: 9.5",
        "VERDICT {nonce}: ten",
        "VERDICT {nonce}: 10/10",
        "VERDICT {nonce}: 10\nor so",
        "VERDICT {nonce}: 2\nVERDICT {nonce}: 10",
        '{{"nonce": "{nonce}", "verdict": "10"}}',
        "",
    ],
)
def test_a_judge_that_never_answers_in_the_form_is_to_blame_itself(chat_server, said):
    def answer(body, number):
        nonce = FORM.search(prompt_of(body))[1]
        return said.format(nonce=nonce, wrong=nonce[::-1] if nonce != nonce[::-1] else "0" * 12)

    chat_server.answer = answer
    found = verdict(chat_server, "4")
    assert (found.status, found.score, found.raw) == (Status.ERROR, None, None)
    assert found.explanation == (
        "no answer in the asked form, nor about a plain text: raise max_tokens (1024), set structured = true, or take "
        "another judge"
    )
    attempts = [section(prompt_of(body), "ATTEMPT") for body in chat_server.bodies]
    assert sorted(attempts) == ["4"] * 3 + [PLAIN_ATTEMPT] * 3
    assert len({FORM.search(prompt_of(body))[1] for body in chat_server.bodies}) == 6  # a nonce is for one question


def test_an_answer_that_was_cut_off_is_none(chat_server):
    chat_server.answer = ruling("1")  # of 10, perhaps
    chat_server.finish_reason = "length"
    found = verdict(chat_server, "4")
    assert found.status is Status.ERROR
    assert "(the last was cut off at max_tokens = 1024, or by a filter)" in found.explanation


@pytest.mark.parametrize(("unreadable", "asked", "raw"), [({0}, 3, 4), ({0, 2}, 5, 4), ({0, 2, 3}, 5, 2.5)])
def test_what_is_read_on_asking_again_counts_and_what_is_not_is_the_worst(chat_server, unreadable, asked, raw):
    """Of two samples the first is unreadable once, twice or for good; the second one is asked between.

    The last time a plain attempt is asked about as well, and read. An attempt that makes the judge ramble where it
    would get little gains nothing.
    """
    chat_server.answer = lambda body, number: "Hm." if number in unreadable else ruling("**4**")(body, number)
    found = verdict(chat_server, "4", samples=2, concurrency=1)
    assert (found.status, found.raw) == (Status.OK, raw)
    assert len(chat_server.bodies) == asked
    worst = "1 of 2 answers count as the worst: no answer in the asked form, where a plain text has one"
    assert (worst in found.explanation) is (raw < 4)


def test_a_judge_that_fails_is_no_zero(chat_server):
    chat_server.answer = lambda body, number: (500, "broken", {})
    found = verdict(chat_server, "4", samples=2)
    assert (found.status, found.score) == (Status.ERROR, None)
    assert "answered with status 500: broken" in found.explanation
    chat_server.answer = lambda body, number: ruling("5")(body, number) if number % 2 else (400, "no", {})
    found = verdict(chat_server, "4", samples=2, concurrency=1)
    assert (found.status, found.raw) == (Status.OK, 5)
    assert "1 of 2 answers dropped" in found.explanation


def test_a_judge_that_takes_too_long_is_a_timeout(chat_server):
    chat_server.answer = lambda body, number: time.sleep(0.6) or "late"
    started = time.monotonic()
    found = verdict(chat_server, "4", timeout=0.2)
    assert (found.status, found.score) == (Status.TIMEOUT, None)
    assert time.monotonic() - started < 4


def test_one_bad_answer_leaves_the_rest_unharmed(chat_server):
    chat_server.answer = lambda body, n: "?" if section(prompt_of(body), "ATTEMPT") == "2" else ruling("6")(body, n)
    found = judge(chat_server).verify_all([(task_of(), says(str(n))) for n in range(4)])
    assert [(v.status, v.raw) for v in found] == [(Status.OK, raw) for raw in (6, 6, 1, 6)]


def test_a_wrong_model_is_the_users_to_put_right(chat_server):
    chat_server.answer = lambda body, number: (404, "no such model", {})
    with pytest.raises(UnknownNameError, match="did you mean 'fake'"):
        judge(chat_server, model="fakes").verify_all([(task_of(), says("4"))])


# structured output


def test_structured_answers_are_asked_for_by_schema_and_read_as_json(chat_server):
    chat_server.answer = structured("8")
    found = verdict(chat_server, "4", structured=True)
    assert (found.raw, found.explanation) == (8, "said 8; mean 8, spread 0; So.")
    chat_server.answer = lambda body, n: structured("8")(body, n).replace("So.", "So,\n\x15.")  # as vLLM may have it
    assert verdict(chat_server, "4", structured=True).raw == 8
    schema = chat_server.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["verdict"]["enum"] == [str(n) for n in range(1, 11)]
    assert schema["properties"]["nonce"]["enum"][0] in prompt_of(chat_server.bodies[0])


def deep(body, number):
    """What Python's json gives up on."""
    return "[" * 100_000


@pytest.mark.parametrize(
    "answer", [structured("11"), structured(8), structured("8", nonce="0" * 12), ruling("8"), deep]
)
def test_structured_answers_of_another_form_are_dropped(chat_server, answer):
    chat_server.answer = answer
    assert verdict(chat_server, "4", structured=True).status is Status.ERROR


# options


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "localhost"}, "is no http URL"),
        ({"samples": 0}, "option 'samples' must be at least 1, got 0"),
        ({"temperature": -1}, "option 'temperature' must be at least 0"),
        ({"timeout": 0}, "option 'timeout' must be above 0 seconds"),
        ({"concurrency": 0}, "option 'concurrency' must be at least 1"),
        ({"scale": [3, 3]}, "option 'scale' must be"),
        ({"mode": "ranked"}, "option 'mode'"),
        ({"rubric_file": "nowhere.txt"}, "option 'rubric_file': nowhere.txt cannot be read"),
        ({"rubric_file": "nowhere.txt", "rubric": "x"}, "both set"),
        ({"model": " "}, "option 'model' is empty"),
        ({"rubric": "\n"}, "option 'rubric' is empty: write what to judge by"),
        ({"api_key_variable": "sk-1"}, "option 'api_key_variable' is no name of an environment variable"),
        ({"api_key": "sk"}, "has no option 'api_key': did you mean 'api_key_variable'"),
    ],
)
def test_bad_options_are_named(chat_server, options, why):
    with pytest.raises(SettingsError, match=re.escape(why) if "[" not in why else why):
        judge(chat_server, **options)


def test_a_rubric_from_a_file_makes_a_version_of_its_own(chat_server, tmp_path):
    chat_server.answer = ruling("5")
    file = tmp_path / "rubric.txt"
    versions = [judge(chat_server).version]
    for text in ("Be brief.\n", "Be long."):
        file.write_text(text)
        built = judge(chat_server, rubric_file=str(file))
        versions.append(built.version)
        built.verify_all([(task_of(), says("4"))])
        assert chat_server.bodies[-1]["messages"][0]["content"].endswith(f"\n\n{text.strip()}")
    assert versions[0] == "2"
    assert len(set(versions)) == 3


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.skipif(installed_vllm() is None, reason="vLLM is not installed")
def test_a_real_server_judges(serve_vllm, tmp_path, monkeypatch):
    """A random model can only answer in the form by structured output; what it says is then one of the choices."""
    monkeypatch.setattr(judge_prompts, "MAX_REASONS", 20)  # it would never end them by itself
    model = make_tiny(tmp_path / "tiny", 0, max_positions=8192)
    only = ("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}')
    url = serve_vllm(model, "--served-model-name", "tiny", *only) + "/v1"
    options = {"url": url, "model": "tiny", "structured": True, "max_tokens": 400, "timeout": 300}
    attempts = [(task_of(), says(text)) for text in ("4", "It is 22.")]
    built = load_plugin(VERIFIERS, "judge", options)
    found = built.verify_all(attempts)
    assert [v.status for v in found] == [Status.OK, Status.OK], found
    assert all(v.score == (v.raw - 1) / 9 and v.raw in range(1, 11) for v in found)
    assert built.verify_all(attempts) == found
    pairs = load_plugin(VERIFIERS, "judge", options | {"mode": "pairwise"}).verify_all(attempts)
    assert all(v.status is Status.OK and v.score in {0, 0.25, 0.5, 0.75, 1} for v in pairs)
    (long,) = load_plugin(VERIFIERS, "judge", options).verify_all([(task_of(), says("x" * 19_000))])  # in 8,192 tokens
    assert (long.status, long.score) == (Status.OK, 0), long
    assert "status 400" in long.explanation
    with pytest.raises(UnknownNameError, match="unknown model 'tny': did you mean 'tiny'"):
        load_plugin(VERIFIERS, "judge", options | {"model": "tny"}).verify_all(attempts)
