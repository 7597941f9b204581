"""From settings to the parts they name, with every name and option checked before a run begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from journeyman.agent.data import Split
from journeyman.agent.errors import DataError, SettingsError
from journeyman.agent.plugins import ENVIRONMENTS, load_plugin
from journeyman.agent.protocols import TaskSet
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.agent.tool_calls import ToolFormat
from journeyman.verifiers.rubric import Rubric
from journeyman.workflows.settings import Settings

if TYPE_CHECKING:
    from journeyman.agent.learning.learner import LearnerSettings
    from journeyman.agent.rendering import Renderer


def open_task_set(settings: Settings) -> TaskSet:
    """The environment plugin that the settings name, with its options."""
    options = dict(settings.environment)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise SettingsError("setting 'environment.name' is missing: `journeyman plugins` lists the environments")
    task_set = load_plugin(ENVIRONMENTS, name, options)
    if not isinstance(task_set, TaskSet):
        raise SettingsError(f"environment {name!r} is no TaskSet: see journeyman.agent.protocols")
    return task_set


def open_rubric(settings: Settings, task_set: TaskSet) -> Rubric:
    """The rubric of the settings, or the environment's own."""
    return Rubric.build(settings.rubric or task_set.rubric, settings.verifiers)


def base_model(settings: Settings) -> str:
    """Folder or name of the model a run begins with; `tiny` is made on the spot, among the artifacts."""
    from journeyman.agent.learning.checkpoint import one_writer, whole_folder
    from journeyman.agent.models import make_tiny, resolve_model

    model = settings.model
    if model.name != "tiny":
        return resolve_model(model.name)
    folder = Path(settings.store.artifacts) / f"tiny-{model.hidden}x{model.layers}-seed{settings.run.seed}"
    heads = max(model.hidden // 32, 1)
    if not folder.exists():
        with one_writer(folder):  # runs may share their artifacts
            if not folder.exists():
                with whole_folder(folder) as partial:
                    make_tiny(partial, settings.run.seed, hidden=model.hidden, layers=model.layers, heads=heads)
    return str(folder)


def open_renderer(settings: Settings) -> Renderer:
    """Messages to tokens and back, by the base model's tokenizer."""
    from journeyman.agent.models import load_tokenizer
    from journeyman.agent.rendering import Renderer

    wanted = settings.model.tool_format
    return Renderer(load_tokenizer(base_model(settings)), None if wanted == "auto" else ToolFormat(wanted))


def sampler_settings(settings: Settings) -> SamplerSettings:
    """What the sampler's engine is told."""
    sampler, model = settings.sampler, settings.model
    return SamplerSettings(
        dtype=model.dtype,
        context_tokens=sampler.max_context,
        max_batch=sampler.batch,
        lora_rank=model.lora_rank,
        gpu_memory=sampler.gpu_memory,
    )


def learner_settings(settings: Settings) -> LearnerSettings:
    """What the learner is told; it learns the distribution that was sampled at."""
    import torch

    from journeyman.agent.learning.learner import LearnerSettings

    model, tune, optimizer = settings.model, settings.finetune, settings.optimizer
    dtype = model.dtype if model.dtype != "auto" else "bfloat16" if torch.cuda.is_available() else "float32"
    return LearnerSettings(
        learning_rate=tune.learning_rate,
        betas=(optimizer.beta1, optimizer.beta2),
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        loss=tune.loss,
        ratio_level=tune.ratio,
        eps=tune.epsilon,
        eps_high=tune.epsilon_high,
        max_completion=settings.generate.max_tokens * open_task_set(settings).max_turns,
        beta=tune.kl_weight,
        kl=tune.kl_estimator,
        correction_max=tune.importance_cap,
        temperature=settings.generate.temperature,
        dtype=dtype,
        lora_rank=model.lora_rank,
        lora_alpha=model.lora_alpha,
        seed=settings.run.seed,
    )


def check(settings: Settings) -> None:
    """Raises the error that a run with these settings would meet later: unknown names, bad options, missing data."""
    from journeyman.agent.models import resolve_model
    from journeyman.agent.sampling.factory import resolve_kind

    task_set = open_task_set(settings)
    open_rubric(settings, task_set)
    for split, count in settings.tasks.model_dump().items():
        if count and next(iter(task_set.tasks(Split(split), settings.run.seed)), None) is None:
            raise DataError(
                f"environment {settings.environment['name']!r} has no {split} tasks: set tasks.{split} to 0"
            )
    if settings.warm_start.file and not Path(settings.warm_start.file).is_file():
        raise DataError(f"setting 'warm_start.file': there is no file {settings.warm_start.file}")
    resolve_kind(settings.sampler.kind)
    if settings.model.name != "tiny":
        resolve_model(settings.model.name)
