"""One model of all settings: the TOML file, `--set` on the command line and Prefect's parameters at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from journeyman.agent.data import Json
from journeyman.agent.models import BUILT_IN
from journeyman.storage.database import parse_url
from journeyman.workflows.settings.attempts import (
    CurriculumSettings,
    DaggerSettings,
    GenerateSettings,
    NoveltySettings,
    RelabelSettings,
    TaskSettings,
)
from journeyman.workflows.settings.engines import (
    LearningSettings,
    ModelSettings,
    OptimizerSettings,
    SamplerSettings,
)
from journeyman.workflows.settings.judgement import AuditSettings, EvaluateSettings, GuardSettings, VerificationSettings
from journeyman.workflows.settings.objectives import ImitationSettings, PreferenceSettings
from journeyman.workflows.settings.places import RunSettings, StoreSettings
from journeyman.workflows.settings.section import Section, Terms
from journeyman.workflows.settings.track import TrackSettings
from journeyman.workflows.settings.updates import (
    CriticSettings,
    FinetuneSettings,
    KlSettings,
    ReplaySettings,
    WarmStartSettings,
)

GROUP = "group"
"""The estimator of GRPO."""


class Settings(Section):
    """All settings of a run."""

    run: RunSettings = RunSettings()
    store: StoreSettings = StoreSettings()
    environment: Mapping[str, Json] = {"name": "countdown"}
    """`name` is a plugin or a "module:object"; `step_seconds` (60) is what each of its calls may take; the rest are its
    options."""
    rubric: Terms = Field(default={})
    """Verifier names with a weight, or a table of `weight`, `gate` and `shaping`; empty takes the environment's."""
    verifiers: Mapping[str, Mapping[str, Json]] = {}
    """Options by verifier name."""
    verification: VerificationSettings = VerificationSettings()
    tasks: TaskSettings = TaskSettings()
    model: ModelSettings = ModelSettings()
    sampler: SamplerSettings = SamplerSettings()
    learner: LearningSettings = LearningSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    warm_start: WarmStartSettings = WarmStartSettings()
    generate: GenerateSettings = GenerateSettings()
    curriculum: CurriculumSettings = CurriculumSettings()
    novelty: NoveltySettings = NoveltySettings()
    relabel: RelabelSettings = RelabelSettings()
    dagger: DaggerSettings = DaggerSettings()
    replay: ReplaySettings = ReplaySettings()
    finetune: FinetuneSettings = FinetuneSettings()
    estimator: Mapping[str, Json] = {"name": GROUP}
    """`name` ("group" without it) is a plugin or a "module:object" that says how much better than expected each token
    was; the rest are its options."""
    imitation: ImitationSettings = ImitationSettings()
    preference: PreferenceSettings = PreferenceSettings()
    critic: CriticSettings = CriticSettings()
    kl: KlSettings = KlSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    audit: AuditSettings = AuditSettings()
    track: TrackSettings = TrackSettings()
    guard: tuple[GuardSettings, ...] = ()

    @field_validator("guard")
    @classmethod
    def _names_differ(cls, guards: tuple[GuardSettings, ...]) -> tuple[GuardSettings, ...]:
        names = [guard.name for guard in guards]
        if len(set(names)) < len(names):
            raise ValueError(f"two guards have the same name among {names}")
        return guards

    def anchored(self, folder: str) -> Settings:
        """The same settings with every path of ours absolute, relative ones taken from `folder`."""
        store, run, start, model = self.store, self.run, self.warm_start, self.model
        url = store.url
        if (parsed := parse_url(url)).get_backend_name() == "sqlite":
            url = parsed.set(database=str(Path(folder, parsed.database or ""))).render_as_string()
        file = start.file and str(Path(folder, start.file))
        changes: dict[str, Any] = {
            "environment": _anchored(self.environment, folder),
            "verifiers": {name: _anchored(options, folder) for name, options in self.verifiers.items()},
            "model": model.model_copy(
                update={"name": model.name if model.name in BUILT_IN else _absolute(model.name, folder)}
            ),
            "guard": tuple(g.model_copy(update={"environment": _anchored(g.environment, folder)}) for g in self.guard),
            "store": store.model_copy(update={"url": url, "artifacts": str(Path(folder, store.artifacts))}),
            "run": run.model_copy(
                update={
                    "output": str(Path(folder, run.output)),
                    "modules": run.modules and str(Path(folder, run.modules)),
                }
            ),
            "warm_start": start.model_copy(update={"file": file}),
            "track": self.track.anchored(folder),
        }
        return self.model_copy(update=changes)


def _anchored(options: Mapping[str, Json], folder: str) -> dict[str, Json]:
    """Options with files made absolute; `name` is an environment's plugin."""
    return {option: value if option == "name" else _absolute(value, folder) for option, value in options.items()}


def _absolute(value: Json, folder: str) -> Json:
    """An option with the files it names made absolute: a text counts where such a file, or a model's folder, exists."""
    if isinstance(value, list):
        return [_absolute(item, folder) for item in value]
    if not isinstance(value, str) or not value:
        return value
    path = os.path.join(folder, value)  # noqa: PTH118 (Path.is_file raises where a text is too long to be a name)
    exists = any(map(os.path.isfile, (path, os.path.join(path, "config.json"))))  # noqa: PTH118 (the same)
    return str(Path(path)) if exists else value
