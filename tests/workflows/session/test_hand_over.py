"""A session proves every hand-over of weights: its gap is stored and shown, and one that fails stops the run."""

from __future__ import annotations

import json

import pytest

from journeyman.agent.data import PolicyRef
from journeyman.agent.errors import DamagedPolicyError, SamplerError, SettingsError
from journeyman.agent.probes import PROBE_FILE
from journeyman.agent.sampling.transformers_engine import TransformersSampler
from journeyman.storage.runs.policies import NewPolicy
from journeyman.workflows.cli import main


@pytest.fixture(params=[0, 4], ids=["full", "lora"])
def session(request, watched):
    """Of a run with versions 1 and 2, whose weights differ."""
    session = watched.open(model={"hidden": 32, "layers": 1, "lora_rank": request.param})
    learner = session.base_learner()
    for number, path in ((1, "x"), (2, "x2")):
        for weight in learner.model.parameters():
            if weight.requires_grad:
                weight.data.add_(0.01 * number)
        learner.save(session.artifacts / path, number)
    session.store.policies.add(session.run.id, NewPolicy(2, None, 1, "finetune", "x2", {}))
    return session


def versions(session):
    return [session.store.policies.numbered(session.run.id, number) for number in (1, 2)]


def test_gaps_are_stored_and_shown(session, capsys) -> None:
    assert [v.handover_gap for v in versions(session)] == [None, None]
    session.sampler(versions(session)[0])
    session.sampler(versions(session)[1])
    session.sampler_at("x")
    gaps = [v.handover_gap for v in versions(session)]
    assert all(0 < gap < 1e-5 for gap in gaps)
    session.store.policies.note_hand_over(versions(session)[0].id, 1e-4)
    session.store.policies.note_hand_over(versions(session)[0].id, 1e-7)
    assert versions(session)[0].handover_gap == 1e-4  # the largest
    assert main(["status", session.run.id, "--json", "--store", session.ref.store_url]) == 0
    shown = json.loads(capsys.readouterr().out)["versions"]
    assert [row["hand-over"] for row in shown] == ["1.0e-04", f"{gaps[1]:.1e}"]


def test_a_damaged_probe_is_a_damaged_version(session) -> None:
    for path in (session.artifacts / "x" / PROBE_FILE, session.artifacts / "x2" / PROBE_FILE):
        path.write_bytes(path.read_bytes()[:-8])
    for load in (lambda: session.sampler_at("x"), lambda: session.sampler(versions(session)[1])):
        with pytest.raises(DamagedPolicyError, match=r"learner/probe.safetensors has \d+ bytes of \d+"):
            load()


async def nothing(self: TransformersSampler, policy: PolicyRef) -> None:
    """A hand-over that is left out."""


def test_a_hand_over_left_out_stops_the_run(session, monkeypatch) -> None:
    first, second = versions(session)
    session.sampler(first)
    monkeypatch.setattr(TransformersSampler, "load_policy", nothing)
    for _ in range(2):  # what failed once is not taken for done
        with pytest.raises(SamplerError, match=r"does not hold the weights of version 2 \(.*x2\): on the probe"):
            session.sampler(second)
    assert versions(session)[1].handover_gap is None
    with pytest.raises(SamplerError, match=r"does not hold the weights of version 1 \(.*x2\): on the probe"):
        session.sampler_at("x2")


def test_positions_by_length_are_refused_before_the_run_is_stored(watched, tmp_path) -> None:
    from tiny_models import make_model

    scaled = {"rope_type": "longrope", "short_factor": [1.0] * 16, "long_factor": [4.0] * 16, "rope_theta": 1e4}
    options = {"original_max_position_embeddings": 128, "rope_parameters": scaled}
    folder = make_model("phi3", tmp_path / "phi3", 0, **options)
    says = r"sampler.max_context is 200, and beyond 128 tokens model .*phi3' scales .* \(longrope\).*: set it to 128 or"
    with pytest.raises(SettingsError, match=says):
        watched.open(model={"name": str(folder)}, sampler={"kind": "transformers", "max_context": 200})
