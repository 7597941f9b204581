"""From settings to the parts they name, with every name and option checked before a run begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from journeyman.agent.chat.tool_calls import ToolFormat
from journeyman.agent.data import Json, PolicyRef
from journeyman.agent.errors import DamagedPolicyError, SettingsError
from journeyman.agent.hosting import Seconds
from journeyman.agent.learning.advantages.attempts import Estimator, Need
from journeyman.agent.learning.settings import LearnerSettings
from journeyman.agent.plugins import ENVIRONMENTS, ESTIMATORS, load_plugin
from journeyman.agent.protocols import TaskSet
from journeyman.agent.rollout import STEP_SECONDS
from journeyman.agent.sampling.settings import SamplerSettings
from journeyman.storage.runs.runs import TermInfo
from journeyman.verifiers.isolation.pool import PoolLimits, VerifierPool, shared_pool
from journeyman.verifiers.rubric import Rubric, Term
from journeyman.workflows.settings.judgement import GuardSettings
from journeyman.workflows.settings.settings import GROUP, Settings

if TYPE_CHECKING:
    from journeyman.agent.chat.renderer import Renderer


_STEP_SECONDS = "step_seconds"
"""The option of every environment that is not the plugin's own."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A guard of the settings, opened: its tasks are acted out by its own task set and judged by its own rubric."""

    settings: GuardSettings
    task_set: TaskSet
    rubric: Rubric

    @property
    def origin(self) -> str:
        """What its tasks are told by in the store."""
        return f"guard/{self.settings.name}"


def open_task_set(settings: Settings) -> TaskSet:
    """The environment plugin that the settings name, with its options."""
    return _task_set(settings.environment, "environment")


def _task_set(environment: Mapping[str, Json], where: str) -> TaskSet:
    options = dict(environment)
    name = options.pop("name", None)
    options.pop(_STEP_SECONDS, None)
    if not isinstance(name, str):
        problem = "is missing" if name is None else f"is {name!r}, not a text"
        raise SettingsError(f"setting '{where}.name' {problem}: `journeyman plugins` lists the environments")
    task_set = load_plugin(ENVIRONMENTS, name, options, (name,))
    if not isinstance(task_set, TaskSet):
        raise SettingsError(f"environment {name!r} is no TaskSet: see journeyman.agent.protocols")
    return task_set


def open_estimator(settings: Settings) -> Estimator:
    """The estimator plugin that the settings name; raises SettingsError where it lacks a critic that it needs."""
    options = dict(settings.estimator)
    name = options.pop("name", GROUP)
    if not isinstance(name, str):
        raise SettingsError(f"setting 'estimator.name' is {name!r}: `journeyman plugins` lists the estimators")
    estimator = load_plugin(ESTIMATORS, name, options, (name,))
    if not isinstance(estimator, Estimator):
        raise SettingsError(f"estimator {name!r} is no Estimator: see journeyman.agent.learning.advantages.attempts")
    if Need.VALUES in estimator.needs and settings.critic.kind == "none":
        raise SettingsError(f"estimator {name!r} needs a critic: set critic.kind to 'head' or 'model'")
    return estimator


def step_seconds(environment: Mapping[str, Json], where: str, task_set: TaskSet) -> Seconds:
    """What each call of the environment may take: its `step_seconds`, 60 without it; raises SettingsError.

    None for a task set that promises to be instant.
    """
    seconds = environment.get(_STEP_SECONDS, STEP_SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise SettingsError(f"setting '{where}.{_STEP_SECONDS}' is {seconds!r}: write seconds above 0, e.g. 60")
    return None if promises_instant(task_set) else float(seconds)


def promises_instant(task_set: TaskSet) -> bool:
    """Whether its class says so itself: one that it inherits from cannot promise for it."""
    return bool(vars(type(task_set)).get("instant", False))


def open_rubric(settings: Settings, task_set: TaskSet) -> Rubric:
    """The rubric of the settings, or the environment's own."""
    return build_rubric(settings, settings.rubric or task_set.rubric)


def build_rubric(settings: Settings, terms: Mapping[str, float | Term]) -> Rubric:
    """A rubric of these terms, with the verifiers' options, limits and environments of the settings."""
    names = (str(of.get("name")) for of in (settings.environment, *(guard.environment for guard in settings.guard)))
    environments = sorted({name for name in names if ":" in name})
    return Rubric.build(terms, settings.verifiers, verifier_pool(settings), environments)


def open_guards(settings: Settings) -> tuple[Guard, ...]:
    """The guards of the settings."""
    guards = []
    for guard in settings.guard:
        task_set = _task_set(guard.environment, f"guard.{guard.name}.environment")
        rubric = build_rubric(settings, guard.rubric or task_set.rubric)
        guards.append(Guard(guard, task_set, rubric))
    return tuple(guards)


def rubric_terms(settings: Settings) -> list[TermInfo]:
    """What each verifier counts for, in the run's rubric and in its guards'."""
    rubrics = {"": open_rubric(settings, open_task_set(settings))}
    rubrics |= {guard.settings.name: guard.rubric for guard in open_guards(settings)}
    return [
        TermInfo(c.id.name, c.term.weight, c.term.gate, c.term.shaping, guard)
        for guard, rubric in rubrics.items()
        for c in rubric.criteria
    ]


def open_held_out(settings: Settings, rubric: Rubric) -> Rubric | None:
    """The verifier of `audit.verifier`, as a rubric of its own; raises SettingsError where updates learn from it."""
    name = settings.audit.verifier
    if name is None:
        return None
    held_out = build_rubric(settings, {name: 1.0})
    steps = settings.finetune.step_verifier
    if held_out.criteria[0].id in {c.id for c in rubric.criteria if c.term.counts or c.recipe.name == steps}:
        raise SettingsError(
            f"setting 'audit.verifier': {name!r} counts in the rubric or scores steps, so that the policy learns to "
            "please it: name another, or give it weight 0 there"
        )
    return held_out


def verifier_pool(settings: Settings) -> VerifierPool:
    """The workers that verify within the settings' limits; shared by all of this process that have the same."""
    return shared_pool(PoolLimits(**settings.verification.model_dump()))


def base_model(settings: Settings) -> str:
    """Folder or name of the model a run begins with; `tiny` and GGUF files are made into folders of the artifacts."""
    from journeyman.agent.gguf_models import gguf_file, gguf_folder, is_gguf, write_gguf
    from journeyman.agent.models import TINY, make_tiny, resolve_model

    model, seed, artifacts = settings.model, settings.run.seed, Path(settings.store.artifacts)
    if model.name == TINY:
        heads = max(model.hidden // 32, 1)
        make_own = partial(make_tiny, seed=seed, hidden=model.hidden, layers=model.layers, heads=heads)
        return _made_once(artifacts / f"tiny-{model.hidden}x{model.layers}-seed{seed}", make_own)
    if is_gguf(model.name):
        file = gguf_file(model.name)
        return _made_once(artifacts / gguf_folder(file), partial(write_gguf, file))
    return resolve_model(model.name)


def _made_once(folder: Path, make: Callable[[Path], object]) -> str:
    """The folder, made where it is not there, and as it was made; runs may share their artifacts."""
    from journeyman.agent.learning.checkpoint import one_writer, whole_folder
    from journeyman.agent.manifests import check, seal, version_of

    if not folder.exists():
        with one_writer(folder):
            if not folder.exists():
                with whole_folder(folder) as partly:
                    make(partly)
                    seal(partly, version_of(folder), parent=None, base=None)
    try:
        check(PolicyRef(0, str(folder)))
    except DamagedPolicyError as error:
        raise error.with_remedy("delete the folder: it is made again") from None
    return str(folder)


def open_renderer(settings: Settings) -> Renderer:
    """Messages to tokens and back, by the base model's tokenizer."""
    from journeyman.agent.models import load_tokenizer

    base = base_model(settings)
    return _renderer(settings, load_tokenizer(base), base)


def renderer_of(settings: Settings) -> Renderer:
    """The same before a run begins: nothing is written."""
    from journeyman.agent.models import is_folder, tokenizer_of

    name = settings.model.name
    return _renderer(settings, tokenizer_of(name), name if is_folder(name) else None)


def _renderer(settings: Settings, tokenizer: Any, model: str | None) -> Renderer:
    from journeyman.agent.chat.renderer import Renderer
    from journeyman.agent.models import generation_stops

    wanted = settings.model.tool_format
    return Renderer(
        tokenizer,
        None if wanted == "auto" else ToolFormat(wanted),
        template_arguments=settings.model.template_arguments,
        stop_ids=generation_stops(model) if model else (),
    )


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


def dtype_of(settings: Settings) -> Literal["float32", "bfloat16"]:
    """What learner and sampler compute in here: `auto` is bfloat16 where there is a GPU."""
    import torch

    dtype = settings.model.dtype
    return dtype if dtype != "auto" else "bfloat16" if torch.cuda.is_available() else "float32"


def learner_settings(settings: Settings) -> LearnerSettings:
    """What the learner is told; it learns the distribution that was sampled at."""
    model, tune, optimizer = settings.model, settings.finetune, settings.optimizer
    return LearnerSettings(
        optimizer=optimizer.kind,
        trust_delta=optimizer.trust_delta,
        trust_damping=optimizer.trust_damping,
        trust_iterations=optimizer.trust_iterations,
        trust_rows=optimizer.trust_rows,
        learning_rate=tune.learning_rate,
        betas=(optimizer.beta1, optimizer.beta2),
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        loss=tune.loss,
        eps=tune.epsilon,
        eps_high=tune.epsilon_high,
        max_completion=settings.generate.max_tokens * open_task_set(settings).max_turns,
        kl=settings.kl.estimator,
        top_entropy=tune.top_entropy,
        entropy_weight=tune.entropy_weight,
        shaping=tune.shaping,
        correction_level=tune.importance_level,
        correction_mode=tune.importance_mode,
        correction_max=tune.importance_cap,
        correction_min=tune.importance_floor,
        critic=settings.critic.kind,
        critic_learning_rate=settings.critic.learning_rate,
        value_weight=settings.critic.weight,
        value_clip=settings.critic.clip,
        temperature=settings.generate.temperature,
        micro_batch_tokens=settings.learner.micro_batch_tokens,
        activation_checkpointing=settings.learner.activation_checkpointing,
        dtype=dtype_of(settings),
        lora_rank=model.lora_rank,
        lora_alpha=model.lora_alpha,
        seed=settings.run.seed,
    )
