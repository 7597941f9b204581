"""Weights on disk: which are damaged, what one can go back to from those, and sealing what is older than manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import DamagedPolicyError
from journeyman.agent.manifests import MANIFEST, check, check_folder, seal
from journeyman.storage.runs.policies import PolicyInfo
from journeyman.storage.runs.runs import RunInfo, RunState
from journeyman.storage.store import ReplayStore
from journeyman.storage.upkeep.integrity import Problem
from journeyman.workflows.session.engines import base_model
from journeyman.workflows.session.life import artifacts_of
from journeyman.workflows.settings.loading import settings_of


def proved(store: ReplayStore, artifacts: Path, policy: PolicyInfo, ref: PolicyRef) -> PolicyRef:
    """`ref`, where the version's weights are, once they are found to be as they were saved.

    Raises DamagedPolicyError, which says what is wrong with them and what one can go back to.
    """
    try:
        check(ref)
    except DamagedPolicyError as error:
        raise error.with_remedy(f"{error.remedy}, or {_way_back(store, artifacts, policy)}") from None
    return ref


def damaged(store: ReplayStore) -> Iterator[Problem]:
    """What is wrong with the weights of the store's runs, of those that are on this machine."""
    for run in store.runs.all():
        for policy, folder in _own(store, run):
            try:
                check_folder(folder, policy.path)
            except DamagedPolicyError as error:
                yield Problem("damaged weights", f"v{policy.number} of run {run.id}", f"{error.what}; {error.remedy}")


def unsealed(store: ReplayStore, run: RunInfo) -> list[PolicyInfo]:
    """The run's versions whose folders have no manifest."""
    return [policy for policy, folder in _own(store, run) if folder.is_dir() and not (folder / MANIFEST).exists()]


def seal_as_it_is(store: ReplayStore, run: RunInfo, policy: PolicyInfo) -> None:
    """Gives the version's folder a manifest of the files it holds; raises DamagedPolicyError where weights are cut."""
    from safetensors import SafetensorError, safe_open

    settings = settings_of(run)
    folder = Path(settings.store.artifacts, policy.path)
    for file in sorted(folder.rglob("*.safetensors")):
        try:
            safe_open(file, framework="numpy")
        except SafetensorError as error:
            raise DamagedPolicyError(folder, f"{file.relative_to(folder)} is cut or no such file ({error})") from None
    parent = next((one.path for one in store.policies.ancestors(policy)), None)
    seal(folder, policy.path, parent=parent, base=base_model(settings) if settings.model.lora_rank else None)


def _way_back(store: ReplayStore, artifacts: Path, policy: PolicyInfo) -> str:
    """What to do without the version: take the newest promoted one before it whose files are whole."""
    for one in store.policies.ancestors(policy):
        if one.promoted and _whole(artifacts, one):
            name = f"v{one.number}" + (f" of run {one.run_id}" if one.run_id != policy.run_id else "")
            export = f"`journeyman export-policy {one.run_id} FOLDER --policy v{one.number}`"
            return f"go back to {name}, which is whole: {export}, then start a run with model.name = FOLDER"
    return "start a new run, since no promoted version before it is whole"


def _own(store: ReplayStore, run: RunInfo) -> Iterator[tuple[PolicyInfo, Path]]:
    """The versions that the run made and keeps, with their folders, where those are on this machine."""
    folder = artifacts_of(run)
    if folder is None or not folder.is_dir() or run.state is RunState.DROPPING:
        return
    for policy in store.policies.of(run.id):
        if policy.kept and policy.path.startswith(f"{run.id}/"):
            yield policy, folder.parent / policy.path


def _whole(artifacts: Path, policy: PolicyInfo) -> bool:
    """Whether the version's files are all as they were saved; a base model is taken to be."""
    if policy.kind == "base":
        return True
    try:
        check_folder(artifacts / policy.path, policy.path)
    except DamagedPolicyError:
        return False
    return policy.kept
