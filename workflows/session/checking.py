"""What a run would stumble over later is looked for before anything is stored."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

from journeyman.agent.asking import ask_for_tasks
from journeyman.agent.data import Split
from journeyman.agent.environments.rows import read_chat_demonstrations
from journeyman.agent.errors import DataError, SettingsError, suggestion
from journeyman.agent.learning.advantages.attempts import Need
from journeyman.agent.protocols import StepVerifier
from journeyman.verifiers.rubric import Rubric, Term, criterion
from journeyman.workflows.session.contexts import check_contexts
from journeyman.workflows.session.engines import (
    learner_settings,
    open_estimator,
    open_guards,
    open_held_out,
    open_rubric,
    open_task_set,
    step_seconds,
)
from journeyman.workflows.settings.settings import GROUP, Settings
from journeyman.workflows.settings.track import TrackSettings


def check(settings: Settings) -> None:
    """Raises the error that a run with these settings would meet later: unknown names, bad options, missing data."""
    from journeyman.agent.base_models import check_base
    from journeyman.agent.models import is_folder, resolve_model
    from journeyman.agent.sampling.factory import resolve_kind

    check_trackers(settings.track)
    check_update(settings, _checked_rubric(settings))
    _check_sense(settings)
    _check_tasks(settings)
    if settings.warm_start.file:
        if not Path(settings.warm_start.file).is_file():
            raise DataError(f"setting 'warm_start.file': there is no file {settings.warm_start.file}")
        read_chat_demonstrations(settings.warm_start.file)
    resolve_kind(settings.sampler.kind)
    name = resolve_model(settings.model.name)
    if is_folder(name):
        check_base(name)
    check_contexts(settings)


def check_update(settings: Settings, rubric: Rubric) -> None:
    """Raises the error that an update with these settings would meet later, of attempts that the rubric judges."""
    _check_steps(settings, rubric)
    open_held_out(settings, rubric)
    open_estimator(settings)
    learner_settings(settings)
    _check_processes(settings)


def _check_sense(settings: Settings) -> None:
    """Raises SettingsError where a run's sections say something of its updates that nothing would come of."""
    tune, needs = settings.finetune, open_estimator(settings).needs
    told = {"kl.weight": settings.kl.asked, "critic.kind": settings.critic.kind != "none"}
    if not ("grpo" in tune.objectives and tune.policy_weight) and any(told.values()):
        names = " and ".join(name for name, asked in told.items() if asked)
        raise SettingsError(
            f"{names}: no update has a policy loss, where it acts: set finetune.policy_weight above 0 and "
            "finetune.objective to 'grpo', or leave it out"
        )
    if settings.critic.kind != "none" and Need.VALUES not in needs:
        name = settings.estimator.get("name", GROUP)
        raise SettingsError(
            f"critic.kind: estimator {name!r} asks no critic; set estimator.name to 'gae', or leave it out"
        )
    if tune.hindsight_loss == "grpo" and not settings.relabel.groups:
        raise SettingsError(
            "finetune.hindsight_loss is 'grpo', but single relabels have no siblings to be compared with: set "
            "relabel.groups to 1 or more"
        )
    if tune.begin not in ("parent", "base", "v1"):
        raise SettingsError(
            f"finetune.begin is {tune.begin!r}, which a run does not have when it begins: set it to 'parent', 'base' "
            "or 'v1' (`journeyman finetune` takes any version)"
        )
    if tune.begin != "parent" and settings.kl.schedule == "adaptive":
        raise SettingsError(
            f"an adaptive kl.schedule steers from update to update, and with finetune.begin = {tune.begin!r} none goes "
            "on from the one before: set kl.schedule to 'constant' or 'linear'"
        )


def _check_processes(settings: Settings) -> None:
    """Whether several can make a step together, and there is a GPU for each, where there are any."""
    import torch

    processes, gpus = settings.learner.processes, torch.cuda.device_count()
    if processes > 1 and settings.optimizer.kind == "trust_region":
        raise SettingsError(f"learner.processes is {processes}, but a trust-region step is made by one: set it to 1")
    if processes > 1 and 0 < gpus < processes:
        raise SettingsError(f"learner.processes is {processes}, and this machine has {gpus} GPUs: set it to that")


def check_trackers(settings: TrackSettings) -> None:
    """Raises SettingsError where a tracker's package is missing, or wandb's key: it would ask for that amid the run."""
    for name in settings.to:
        try:
            package = importlib.import_module(name)
        except ImportError as error:
            raise SettingsError(
                f"setting 'track.to': {name} takes its package, which cannot be imported ({error}): "
                f"pip install 'journeyman[{name}]'"
            ) from None
        online = name == "wandb" and package.setup().settings.mode in ("online", "shared")
        if online and not package.login(prompt=False, verify=False):
            raise SettingsError(
                "setting 'track.to': wandb has no key: set WANDB_API_KEY, run `wandb login`, or set WANDB_MODE=offline"
            )


def check_folders(settings: Settings) -> None:
    """Makes the folders of weights and of summaries; raises SettingsError where nothing can be written there."""
    for setting, folder in (("store.artifacts", settings.store.artifacts), ("run.output", settings.run.output)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise SettingsError(f"{setting}: {folder} cannot be written: {error.strerror}") from error


def _checked_rubric(settings: Settings) -> Rubric:
    """With all verifiers checked: its own, the audit's and guards', and those with options though nobody asks them."""
    for name, options in settings.verifiers.items():
        criterion(name, options, Term())
    rubric = open_rubric(settings, open_task_set(settings))
    held_out, guards = open_held_out(settings, rubric), open_guards(settings)
    for one in (rubric, held_out, *(guard.rubric for guard in guards)):
        if one is not None:
            one.check()
    return rubric


def _check_tasks(settings: Settings) -> None:
    """Whether there is a task for every split and guard that asks for some."""
    for guard in open_guards(settings):
        name = guard.settings.environment["name"]
        if next(ask_for_tasks(guard.task_set, Split.VALIDATION, settings.run.seed, name), None) is None:
            raise DataError(f"guard {guard.settings.name!r}: environment {name!r} has no validation tasks to draw from")
    task_set = open_task_set(settings)
    step_seconds(settings.environment, "environment", task_set)
    name = settings.environment["name"]
    for split, count in settings.tasks.model_dump().items():
        if count and next(ask_for_tasks(task_set, Split(split), settings.run.seed, name), None) is None:
            raise DataError(f"environment {name!r} has no {split} tasks: set tasks.{split} to 0")


def _check_steps(settings: Settings, rubric: Rubric) -> None:
    """Whether the verdicts of `finetune.step_verifier` will be stored, and score steps."""
    name = settings.finetune.step_verifier
    verifiers = {c.recipe.name: c.verifier for c in rubric.criteria}
    if name is None:
        return
    if name not in verifiers:
        raise SettingsError(
            f"setting 'finetune.step_verifier': {name!r} is not in the rubric, so that its step scores are not stored: "
            f"{suggestion(name, verifiers)}; to have it watched only, add to [rubric] its name with weight 0"
        )
    if not isinstance(verifiers[name], StepVerifier):
        raise SettingsError(f"setting 'finetune.step_verifier': {name!r} scores no steps (it has no steps_of)")
