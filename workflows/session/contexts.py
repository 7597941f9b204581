"""Do the prompts fit into the context, with room for an answer? A look at some of each split before a run begins."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from journeyman.agent.data import Split, Task, Tool
from journeyman.agent.errors import Outage, SettingsError, TemplateRefusedError
from journeyman.agent.hosting import Seconds, call_bounded
from journeyman.agent.protocols import TaskSet
from journeyman.workflows.session.engines import open_guards, open_task_set, renderer_of, step_seconds
from journeyman.workflows.settings.settings import Settings

if TYPE_CHECKING:
    from journeyman.agent.chat.renderer import Renderer

_SAMPLE = 32  # tasks of each split

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Tasks of one kind, and how they are attempted."""

    name: str
    """E.g. `train`, or `guard words`."""
    tasks: Sequence[Task]
    task_set: TaskSet
    turn_tokens: int
    setting: str
    """What says so many tokens."""
    step_seconds: Seconds
    """What a call of the environment may take."""


def check_contexts(settings: Settings) -> None:
    """Raises SettingsError where no prompt of a split leaves room for an answer, or the model's context is smaller.

    Where some prompts leave none there is a warning: those attempts end before they begin. So it is raised where the
    prompts hold tokens that the model does not know.
    """
    from journeyman.agent.base_models import check_vocabulary
    from journeyman.agent.models import check_length, context_limit, is_folder, resolve_model

    check_length(settings.model.name, settings.sampler.max_context)
    context, limit = settings.sampler.max_context, context_limit(settings.model.name)
    if limit is not None and context > limit:
        raise SettingsError(
            f"sampler.max_context is {context}, and model {settings.model.name!r} holds {limit} tokens: set it to "
            f"{limit} or lower"
        )
    renderer = renderer_of(settings)
    ids = set(renderer.stop_ids)
    for asked in _all_asked(settings):
        prompts = _prompts(asked, renderer)
        lengths, ids = [len(prompt) for prompt in prompts], ids.union(*prompts)
        cut = sum(length + asked.turn_tokens > context for length in lengths)
        if not cut:
            continue
        needed = max(lengths) + asked.turn_tokens
        sizes = f"of {asked.setting} = {asked.turn_tokens} tokens in sampler.max_context = {context}"
        longest = f"they take {min(lengths)} to {max(lengths)} tokens"
        remedy = f"set sampler.max_context to {needed}" if limit is None or needed <= limit else "shorten the prompts"
        remedy = f"{remedy}, or {asked.setting} lower"
        if cut == len(lengths):
            raise SettingsError(
                f"none of {cut} {asked.name} prompts leaves room for an answer {sizes}: {longest}; {remedy}"
            )
        logger.warning(
            "%d of %d %s prompts leave no room for an answer %s: %s; %s",
            cut,
            len(lengths),
            asked.name,
            sizes,
            longest,
            remedy,
        )
    name = resolve_model(settings.model.name)
    if is_folder(name):
        check_vocabulary(name, renderer.tokenizer, ids)


def _all_asked(settings: Settings) -> Iterator[_Asked]:
    task_set, tokens = open_task_set(settings), settings.generate.max_tokens
    seconds = step_seconds(settings.environment, "environment", task_set)
    for name, count in settings.tasks.model_dump().items():
        tasks = _first(task_set, Split(name), settings.run.seed, count)
        yield _Asked(name, tasks, task_set, tokens, "generate.max_tokens", seconds)
    for guard in open_guards(settings):
        told = guard.settings
        tasks = _first(guard.task_set, Split.VALIDATION, settings.run.seed, told.tasks)
        setting = "generate.max_tokens" if told.max_tokens is None else f"max_tokens of guard {told.name}"
        seconds = step_seconds(told.environment, f"guard.{told.name}.environment", guard.task_set)
        yield _Asked(f"guard {told.name}", tasks, guard.task_set, told.max_tokens or tokens, setting, seconds)


def _first(task_set: TaskSet, split: Split, seed: int, count: int) -> list[Task]:
    return list(itertools.islice(task_set.tasks(split, seed), min(count, _SAMPLE))) if count else []


def _prompts(asked: _Asked, renderer: Renderer) -> list[tuple[int, ...]]:
    """The tokens of each prompt, tools and the assistant's header included.

    Those that are no text, or that the chat template refuses while it takes others, are left out.
    """
    tools = _tools(asked) if asked.tasks else ()
    prompts = [task.prompt for task in asked.tasks if all(_is_text(m.content) for m in task.prompt)]
    found, refused = list[tuple[int, ...]](), None
    for prompt in prompts:
        try:
            found.append(renderer.encode(renderer.conversation(prompt, tools)))
        except TemplateRefusedError as error:  # attempts at it will record it
            refused = error
    if refused is not None and not found:
        raise refused
    return found


def _is_text(content: str) -> bool:
    return content.isascii() or not any("\ud800" <= c <= "\udfff" for c in content)


def _tools(asked: _Asked) -> Sequence[Tool]:
    """What the agent is shown beside the prompt; nothing where the environment does not open."""
    task, task_set = asked.tasks[0], asked.task_set
    try:
        return call_bounded("open", lambda: tuple(task_set.open(task).tools), asked.step_seconds)
    except Outage as error:  # attempts in it will record it
        logger.warning("environment %r could not be looked at before the run: %s", task.environment, error)
        return ()
