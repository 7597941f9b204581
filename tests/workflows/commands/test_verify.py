"""`journeyman verify`, and the template package of a third party's verifier."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from journeyman.workflows.cli import main

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "examples" / "verifier-plugin"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["verify", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_text_is_judged_and_explained(capsys) -> None:
    assert run(capsys, "number", "--text", "so #### 42", "--goal", "42") == (0, "1.000\n", "")
    code, out, _ = run(capsys, "number", "--text", "so #### 41", "--goal", "42", "--json")
    told = json.loads(out)
    assert (code, told["status"], told["score"], told["extracted"], told["expected"]) == (0, "ok", 0.0, "41", "42")
    code, out, _ = run(
        capsys, "pattern", "--text", "<a>7</a>", "--goal", "7", "--set", "pattern='<a>(.*)</a>'", "--explain"
    )
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith("step"))
    assert (code, rows["status"], rows["score"], rows["extracted"]) == (0, "ok", "1.000", "7")


def test_what_is_no_score_is_told_as_what_it_is(capsys) -> None:
    assert run(capsys, "exact", "--text", "x") == (0, "abstain\n", "")
    assert run(capsys, "number", "--text", "x", "--goal", "no number") == (0, "error\n", "")


def test_mistakes_are_one_line(capsys) -> None:
    code, _, err = run(capsys, "nubmer", "--text", "x")
    assert (code, "did you mean 'number'" in err) == (2, True)
    code, _, err = run(capsys, "number", "--text", "x", "--set", "wehre='last'")
    assert (code, "did you mean 'where'" in err) == (2, True)
    code, _, err = run(capsys, "number", "--text", "x", "--payload", "3")
    assert (code, "is no JSON object" in err) == (2, True)


@pytest.mark.slow
def test_the_template_package_is_found_listed_and_scored_with(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(TEMPLATE), str(copy)], check=True)
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(copy)], check=True)

    def journeyman(*arguments: str) -> str:
        command = [sys.executable, "-m", "journeyman.workflows.cli", *arguments]
        env = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    listed = [row for row in json.loads(journeyman("plugins", "--json")) if row["name"] == "palindrome"]
    assert [(row["kind"], row["from"]) for row in listed] == [("verifiers", "palindrome-verifier 0.1.0")]
    said = journeyman("verify", "palindrome", "--text", "A man, a plan, a canal: Panama!", "--goal", "canal")
    assert said == "1.000\n"
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy / "tests")]
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(tests, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
