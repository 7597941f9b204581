"""What wandb has on disk is read whatever its size, and up to where it ends."""

from __future__ import annotations

import pytest

from journeyman.workflows.tracking.offline import rows_on_disk


def test_rows_behind_a_long_record_and_before_a_torn_one(tmp_path, monkeypatch) -> None:
    wandb = pytest.importorskip("wandb", reason="takes the extra wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="p", id="a-1", mode="offline", dir=tmp_path, config={"long": "x" * 100_000})
    for step in range(3):
        run.log({"iteration": step, "words/a.b": step / 4, "long": "y" * 40_000})
    run.finish()
    wandb.teardown()  # which waits for its own process to have written everything
    folder = tmp_path / "wandb"

    def rows() -> list[tuple[float, float]]:
        return [(row["iteration"], row["words/a.b"]) for row in rows_on_disk(folder, "a-1")]

    assert rows() == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert list(rows_on_disk(folder, "1")) == []
    (file,) = folder.glob("offline-run-*/*.wandb")
    whole = file.read_bytes()
    seen = set()
    for length in (*range(0, len(whole), 1999), len(whole)):
        file.write_bytes(whole[:length])
        seen.add(len(rows()))
    assert seen == {0, 1, 2, 3}
