"""Rollouts: many episodes against one sampler, and failures as data."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from journeyman.agent.chance import keyed_seed
from journeyman.agent.chat.renderer import Renderer
from journeyman.agent.chat.rendering import choices_of, render_episode
from journeyman.agent.data import (
    Episode,
    Message,
    Observation,
    PolicyRef,
    Source,
    Split,
    Step,
    StopReason,
    Task,
    Turn,
)
from journeyman.agent.errors import InvalidAction, SamplerError, SettingsError
from journeyman.agent.models import load_tokenizer, make_tiny
from journeyman.agent.rollout import Attempt, Limits, replay, rollout, run_rollout
from journeyman.agent.sampling.scripted import ScriptedSampler
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.agent.sampling.transformers_engine import TransformersSampler

LIMITS = Limits(max_turns=4, turn_tokens=8, context_tokens=200)


@dataclass
class CountDown:
    """Wants to hear the numbers from `task.goal` down to 1, one a turn; some words break it."""

    task: Task
    tools: tuple = ()
    closed: list = field(default_factory=list)

    async def start(self):
        if self.task.payload.get("start") == "broken":
            raise RuntimeError("no board")
        if self.task.payload.get("start") == "setup":
            raise SettingsError("no bubblewrap")
        self.left = self.task.goal
        return Observation(self.task.prompt)

    async def step(self, action):
        await asyncio.sleep(0)
        match action.content:
            case "boom":
                raise ZeroDivisionError("it broke")
            case "fly":
                raise InvalidAction("no wings")
            case "setup":
                raise SettingsError("bubblewrap is missing")
            case "odd":
                return Step(Observation((Message("user", "\ud800"),)), None, False, False)
            case "junk":
                return None
            case "enough":
                return Step(Observation(()), None, False, True)
        self.left -= action.content == str(self.left)
        return Step(Observation((Message("user", f"{self.left} left"),)), 0.5, self.left == 0, False)

    async def close(self):
        if self.task.payload.get("close") == "slow":
            await asyncio.sleep(0.3)
        self.closed.append(self.task.hash)
        if self.task.payload.get("close") == "broken":
            raise OSError("cannot close")


def task_of(goal, name="a", **payload):
    prompt = (Message("user", f"count from {goal}"),)
    return Task("count", goal, prompt, Split.TRAIN, name * 32, payload)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_tiny(tmp_path_factory.mktemp("models") / "tiny", 0, hidden=32, layers=2, heads=1, intermediate=64))


@pytest.fixture(scope="module")
def renderer(folder):
    return Renderer(load_tokenizer(folder))


def play(renderer, replies, tasks, limits=LIMITS, closed=None):
    closed = [] if closed is None else closed
    attempts = [Attempt(task, i, keyed_seed(7, i)) for i, task in enumerate(tasks)]
    sampler = ScriptedSampler(renderer, replies)
    return run_rollout(attempts, lambda task: CountDown(task, closed=closed), sampler, renderer, limits), sampler


def test_an_episode_from_start_to_end(renderer):
    closed = []
    (trajectory,), sampler = play(renderer, ["2", "x", "1"], [task_of(2)], closed=closed)
    assert trajectory.stop_reason is StopReason.TERMINATED
    assert (trajectory.source, trajectory.task_hash, trajectory.attempt) == (Source.POLICY, "a" * 32, 0)
    assert [t.action.content for t in trajectory.turns] == ["2", "x", "1"]
    assert [t.observation[0].content for t in trajectory.turns] == ["1 left", "1 left", "0 left"]
    assert [t.reward for t in trajectory.turns] == [0.5, 0.5, 0.5]
    assert trajectory.final_text == "1"
    assert closed == ["a" * 32]
    (segment,) = trajectory.segments
    history = "<|bos|><|user|>count from 2<|end|><|assistant|>2<|end|><|user|>1 left<|end|><|assistant|>"
    assert sampler.prompts[1] == history
    assert [c.ids for c in choices_of(trajectory)] == [renderer.action_ids(t.action) for t in trajectory.turns]
    assert len(segment.behaviour_logprobs) == segment.loss_mask.sum() == 6


def test_an_attempt_takes_the_time_from_first_request_to_last_answer(renderer):
    class Slow(ScriptedSampler):
        async def generate(self, prompt_ids, params):
            await asyncio.sleep(0.05)
            return await super().generate(prompt_ids, params)

    attempts = [Attempt(task_of(2), 0, 0), Attempt(task_of(1, start="broken"), 1, 0)]
    done, broken = run_rollout(attempts, CountDown, Slow(renderer, ["2", "1"]), renderer, LIMITS)
    assert 0.1 <= done.seconds < 10
    assert broken.seconds is None
    assert replay(task_of(1), CountDown, [Message("assistant", "1")], renderer).seconds is None


def test_trajectories_come_in_the_order_of_the_attempts(renderer):
    """Episodes of different lengths end at different times."""
    tasks = [task_of(goal, name) for goal, name in ((3, "a"), (1, "b"), (2, "c"))]

    def reply(prompt, seed):
        left = prompt.rsplit("<|user|>", 1)[1].removeprefix("count from ")
        return left[0]

    trajectories, _ = play(renderer, reply, tasks)
    assert [t.task_hash[0] for t in trajectories] == ["a", "b", "c"]
    assert [t.attempt for t in trajectories] == [0, 1, 2]
    assert [len(t.turns) for t in trajectories] == [3, 1, 2]
    assert {t.stop_reason for t in trajectories} == {StopReason.TERMINATED}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("boom", "step: ZeroDivisionError: it broke"),
        ("odd", "step: UnicodeEncodeError: "),
        ("junk", "step: TypeError: the answer is a NoneType, not a Step"),
    ],
)
def test_a_step_that_breaks_is_data_once_it_broke_again(renderer, word, message):
    closed = []

    def reply(prompt, seed):
        first, second = ("2", "1") if "from 2" in prompt else ("3", word)
        return second if "left" in prompt else first

    (good, bad), sampler = play(renderer, reply, [task_of(2), task_of(3, "b")], closed=closed)
    assert len(sampler.prompts) == 2 + 2 * 2  # the one that broke was made again
    assert bad.stop_reason is StopReason.ERROR
    assert bad.error.startswith(message)
    assert [t.action.content for t in bad.turns] == ["3", word]
    assert bad.turns[-1].observation == ()
    assert len(choices_of(bad)) == 2
    assert (good.stop_reason, good.error) == (StopReason.TERMINATED, None)
    assert sorted(closed) == sorted([good.task_hash, bad.task_hash, bad.task_hash])


def test_an_attempt_that_broke_once_is_made_again_whole(renderer):
    (trajectory,), sampler = play(renderer, ["2", "boom", "2", "1"], [task_of(2)])
    assert (trajectory.stop_reason, trajectory.error) == (StopReason.TERMINATED, None)
    assert [t.action.content for t in trajectory.turns] == ["2", "1"]
    assert len(sampler.prompts) == 4


def test_an_invalid_action_is_told_to_the_agent_and_the_episode_goes_on(renderer):
    (trajectory,), sampler = play(renderer, ["fly", "2", "1"], [task_of(2)])
    assert trajectory.stop_reason is StopReason.TERMINATED
    assert trajectory.turns[0] == Turn(Message("assistant", "fly"), (Message("user", "error: no wings"),))
    assert sampler.prompts[1].endswith("<|user|>error: no wings<|end|><|assistant|>")
    (segment,) = trajectory.segments
    assert renderer.decode(segment.completion_ids[segment.loss_mask]) == "fly<|end|>2<|end|>1<|end|>"


def test_a_start_that_raises_is_data(renderer):
    closed = []
    (trajectory,), _ = play(renderer, [], [task_of(1, start="broken")], closed=closed)
    assert (trajectory.stop_reason, trajectory.error) == (StopReason.ERROR, "start: RuntimeError: no board")
    assert trajectory.turns == trajectory.segments == ()
    assert closed == ["a" * 32] * 2


def test_an_environment_that_does_not_open_is_data(renderer):
    def refuse(task):
        raise KeyError(task.goal)

    (trajectory,) = run_rollout([Attempt(task_of(1), 5, 0)], refuse, ScriptedSampler(renderer, []), renderer, LIMITS)
    assert (trajectory.stop_reason, trajectory.error, trajectory.attempt) == (StopReason.ERROR, "open: KeyError: 1", 5)


def test_a_close_that_raises_changes_nothing(renderer, caplog):
    (trajectory,), _ = play(renderer, ["1"], [task_of(1, close="broken")])
    assert (trajectory.stop_reason, trajectory.error) == (StopReason.TERMINATED, None)
    assert "OSError: cannot close" in caplog.text


def test_our_own_errors_end_the_rollout(renderer):
    closed = []
    with pytest.raises(SettingsError, match="bubblewrap is missing"):
        play(renderer, ["setup"] + ["2"] * 9, [task_of(2, n) for n in "abc"], closed=closed)
    assert sorted(closed) == ["a" * 32, "b" * 32, "c" * 32]

    def slowly(task):
        time.sleep(0.3 if task.hash[0] == "b" else 0)
        return CountDown(task, closed=closed)

    closed.clear()
    attempts = [Attempt(task_of(1, "b", close="slow"), 0, 0), Attempt(task_of(2, "a"), 1, 0)]
    sampler = ScriptedSampler(renderer, lambda prompt, seed: "1" if "from 1" in prompt else "setup")
    with pytest.raises(SettingsError, match="bubblewrap is missing"):
        run_rollout(attempts, lambda task: CountDown(task, closed=closed), sampler, renderer, LIMITS)
    assert sorted(closed) == ["a" * 32, "b" * 32]  # one was just being closed when the other ended the rollout

    closed.clear()
    attempts = [Attempt(task_of(2, name, start="setup" if name == "a" else ""), 0, 0) for name in "ab"]
    with pytest.raises(SettingsError, match="no bubblewrap"):
        run_rollout(attempts, slowly, ScriptedSampler(renderer, ["2"] * 9), renderer, LIMITS)
    assert sorted(closed) == ["a" * 32, "b" * 32]  # one was not open yet when the other ended the rollout
    with pytest.raises(SamplerError, match="no reply left for request 2"):
        play(renderer, ["2"], [task_of(2)])


@pytest.mark.parametrize(
    ("replies", "limits", "reason", "turns"),
    [
        (["enough"], LIMITS, StopReason.TRUNCATED, 1),
        (["x"] * 4, LIMITS, StopReason.TRUNCATED, 4),
        (["x", "far too long"], LIMITS, StopReason.LENGTH, 2),
        (["x"] * 4, Limits(4, turn_tokens=8, context_tokens=49), StopReason.LENGTH, 3),  # 16 + 3 x (2 + 9)
        (["x"], Limits(4, turn_tokens=8, context_tokens=16), StopReason.LENGTH, 0),
    ],
)
def test_limits(renderer, replies, limits, reason, turns):
    (trajectory,), _ = play(renderer, replies, [task_of(2)], limits)
    assert (trajectory.stop_reason, len(trajectory.turns)) == (reason, turns)
    for segment in trajectory.segments:
        assert len(segment.prompt_ids) + len(segment.completion_ids) <= limits.context_tokens


def test_a_cut_off_action_is_kept_and_not_acted_out(renderer):
    (trajectory,), _ = play(renderer, ["12345678"], [task_of(2)])
    assert trajectory.turns == (Turn(Message("assistant", "12345678")),)
    (segment,) = trajectory.segments
    assert renderer.decode(segment.completion_ids) == "12345678"
    assert segment.loss_mask.all()


def test_seeds_are_keyed_by_attempt_and_turn(renderer):
    seeds = []

    def reply(prompt, seed):
        seeds.append(seed)
        return "x"

    play(renderer, reply, [task_of(2), task_of(2)])
    expected = {keyed_seed(keyed_seed(7, i), turn) for i in range(2) for turn in range(4)}
    assert len(expected) == 8
    assert set(seeds) == expected


def test_the_same_seeds_give_the_same_trajectories(renderer, folder):
    async def once():
        sampler = TransformersSampler(PolicyRef(0, folder), SamplerSettings(device="cpu"))
        attempts = [Attempt(task_of(2, n), i, keyed_seed(7, n, i)) for n in "abc" for i in range(4)]
        try:
            return await rollout(attempts, CountDown, sampler, renderer, LIMITS)
        finally:
            sampler.close()

    first, second = asyncio.run(once()), asyncio.run(once())
    assert [t.turns for t in first] == [t.turns for t in second]
    for one, other in zip(first, second, strict=True):
        assert all(a.same_as(b) for a, b in zip(one.segments, other.segments, strict=True))
    assert len({t.final_text for t in first}) > 1


def test_cancelling_a_rollout_cancels_its_episodes(renderer):
    closed = []

    class Silent(ScriptedSampler):
        async def generate(self, prompt_ids, params):
            await asyncio.Event().wait()

    async def cancelled():
        attempts = [Attempt(task_of(2, n), 0, 0) for n in "ab"]
        run = asyncio.ensure_future(
            rollout(attempts, lambda t: CountDown(t, closed=closed), Silent(renderer, []), renderer, LIMITS)
        )
        await asyncio.sleep(0.01)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        return len(asyncio.all_tasks())

    assert asyncio.run(cancelled()) == 1
    assert sorted(closed) == ["a" * 32, "b" * 32]


def test_run_rollout_works_inside_a_running_loop(renderer):
    async def caller():
        return play(renderer, ["1"], [task_of(1)])[0]

    (trajectory,) = asyncio.run(caller())
    assert trajectory.stop_reason is StopReason.TERMINATED


def test_replay_acts_the_expert_out(renderer):
    task = task_of(2)
    says = [Message("assistant", word) for word in ("2", "1", "never said")]
    trajectory = replay(task, CountDown, says, renderer)
    assert (trajectory.source, trajectory.stop_reason) == (Source.EXPERT, StopReason.TERMINATED)
    assert [t.observation[0].content for t in trajectory.turns] == ["1 left", "0 left"]
    (segment,) = trajectory.segments
    assert segment.behaviour_logprobs is None
    assert renderer.decode(segment.completion_ids[segment.loss_mask]) == "2<|end|>1<|end|>"
    (told,) = render_episode(Episode(task, trajectory.turns, 0), renderer)
    assert told.same_as(segment)


def test_an_expert_goes_on_from_where_an_attempt_went(renderer):
    """The attempt's turns are context: acted out and shown as sampled, and not trained."""
    task = task_of(2)
    (attempt,), _ = play(renderer, ["x", "2", "2", "2"], [task])
    context = [choice.ids for choice in choices_of(attempt)[:2]]
    trajectory = replay(task, CountDown, [Message("assistant", "1")], renderer, context)
    assert trajectory.stop_reason is StopReason.TERMINATED
    assert trajectory.turns[:2] == attempt.turns[:2]
    (segment,), (sampled,) = trajectory.segments, attempt.segments
    assert segment.behaviour_logprobs is None
    assert renderer.decode(segment.completion_ids[segment.loss_mask]) == "1<|end|>"
    shared = len(segment.completion_ids) - 2
    assert segment.completion_ids[:shared].tolist() == sampled.completion_ids[:shared].tolist()
    nothing = replay(task, CountDown, [], renderer, context)
    assert nothing.segments == ()


def test_replay_of_too_few_actions_is_truncated(renderer):
    task = task_of(2)
    trajectory = replay(task, CountDown, [Message("assistant", "2")], renderer)
    assert trajectory.stop_reason is StopReason.TRUNCATED


def test_given_turns_are_acted_out_and_the_last_is_gone_on_from(renderer):
    first, begun = renderer.action_ids(Message("assistant", "3")), renderer.encode("2 ")
    sampler = ScriptedSampler(renderer, ["x", "2", "1"])
    attempt = Attempt(task_of(3), 0, 5, given=(first, begun))
    (trajectory,) = run_rollout([attempt], CountDown, sampler, renderer, LIMITS)
    assert [t.action.content for t in trajectory.turns] == ["3", "2 x", "2", "1"]
    assert [t.observation[0].content for t in trajectory.turns] == ["2 left", "2 left", "1 left", "0 left"]
    assert sampler.prompts[0].endswith("<|user|>2 left<|end|><|assistant|>2 ")
    (segment,) = trajectory.segments
    assert renderer.decode(segment.completion_ids[segment.loss_mask]) == "2 x<|end|>2<|end|>1<|end|>"
    assert segment.behaviour_logprobs is None


def test_what_is_given_takes_up_room(renderer):
    attempt = Attempt(task_of(3), 0, 5, given=(renderer.encode("1234567"),))
    (trajectory,) = run_rollout([attempt], CountDown, ScriptedSampler(renderer, ["89"]), renderer, LIMITS)
    assert (trajectory.stop_reason, trajectory.final_text) == (StopReason.LENGTH, "12345678")
