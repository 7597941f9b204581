"""`journeyman ...`: parses the command line, and turns a user's mistake into one line and exit code 2.

Only the standard library is imported here; what a command needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from journeyman.agent.credentials import hidden
from journeyman.agent.errors import JourneymanError
from journeyman.workflows.settings.defaults import DEFAULT_STORE
from journeyman.workflows.terminal import STOPPED, closed, open_out, stopped, tell, visible

_HOMES = {
    "run": "run",
    "resume": "run",
    "work": "work",
    "serve": "schedule",
    "deploy": "schedule",
    "finetune": "finetune",
    "evaluate": "policies",
    "export-policy": "policies",
    "train-prm": "heads.train_prm",
    "train-reward-model": "heads.train_reward_model",
    "status": "look",
    "inspect": "inspecting",
    "track": "track",
    "plugins": "look",
    "doctor": "doctor",
    "check-environment": "check_environment",
    "db": "database",
    "verify": "verify",
    "rescore": "judge",
    "retract": "judge",
    "label": "judge",
    "revise": "revise",
    "export": "exchange",
    "import": "exchange",
}
"""Command -> the module of workflows/commands/ with the function of its name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 2 (the user can put it right) or 130 (Ctrl-C). Other errors are raised."""
    open_out()
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # vLLM's native code warns of how it binds memory
    try:
        if (here := str(Path.cwd())) not in sys.path:  # "module:object" names: the console script leaves it out
            sys.path.append(here)
        module = importlib.import_module(f"journeyman.workflows.commands.{_HOMES[options.command]}")
        name = options.command.replace("-", "_")
        getattr(module, f"{name}_" if keyword.iskeyword(name) else name)(options)
        return 0
    except JourneymanError as error:
        tell(f"journeyman: {error}")
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        closed()
        return 0
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        tell(f"journeyman: {error.strerror}: {error.filename or 'no file named'}")
        return 2
    except KeyboardInterrupt:
        goes_on = "; `journeyman resume` goes on from here" if options.command in ("run", "resume") else ""
        stopped(f"journeyman: stopped{goes_on}")
        return STOPPED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with code 2."""
        tell(f"journeyman: {message}; `{self.prog} --help` says more")
        self.exit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(visible(message, block=True), file)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="journeyman", description="Agentic expert iteration for language models.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_running(commands)
    _add_looking(commands)
    _add_keeping(commands)
    _add_judging(commands)
    _add_training(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("journeyman")


def _add_running(commands: argparse._SubParsersAction[_Parser]) -> None:
    run = commands.add_parser("run", help="run a settings file from warm start to report")
    _settings_arguments(run)
    resume = commands.add_parser("resume", help="go on with a run that was interrupted")
    resume.add_argument("run", nargs="?", help="run name or id; the newest unfinished one without it")
    _store_argument(resume)
    for command in (run, resume):
        command.add_argument("--engine", choices=("prefect", "none"), help="overrides run.engine")
        command.add_argument("--json", action="store_true", help="the last line printed is the path of summary.json")
    work = commands.add_parser("work", help="join a run as a worker: make and score attempts until it is finished")
    work.add_argument("run", help="run name or id")
    work.add_argument(
        "--kinds",
        nargs="+",
        choices=("generate", "score"),
        default=("generate", "score"),
        help="what to do; both without it",
    )
    work.add_argument("--once", action="store_true", help="end when there is nothing to do")
    _store_argument(work)
    serve = commands.add_parser("serve", help="schedule a settings file and run it here when it is due")
    deploy = commands.add_parser("deploy", help="put a settings file on a Prefect work pool")
    for command in (serve, deploy):
        _settings_arguments(command)
        command.add_argument("--cron", help='when, e.g. "0 2 * * *"; without it only on demand')
    deploy.add_argument("--pool", required=True, help="name of the work pool")


def _add_looking(commands: argparse._SubParsersAction[_Parser]) -> None:
    evaluate = commands.add_parser("evaluate", help="pass@1 and pass@k of a policy version or a base model")
    evaluate.add_argument("target", help="run name or id, or a settings file to evaluate its base model")
    evaluate.add_argument("--policy", help="version of the run, e.g. v3; the newest promoted one without it")
    evaluate.add_argument("--model", help="with a settings file: another base model's folder or name")
    _set_argument(evaluate)
    evaluate.add_argument("--split", choices=("validation", "test"), default="test")
    export = commands.add_parser("export-policy", help="merged weights as a folder that `vllm serve` takes")
    export.add_argument("run", help="run name or id")
    export.add_argument("folder", help="where to; must not exist")
    export.add_argument("--policy", help="version, e.g. v3; the newest promoted one without it")
    status = commands.add_parser("status", help="runs, their versions and evaluations")
    status.add_argument("run", nargs="?", help="run name or id")
    inspect = commands.add_parser("inspect", help="trajectories: turns, trained tokens, scores, fates, lineage")
    inspect.add_argument("trajectory", nargs="?", help="id or its end; without it a run's newest ones are listed")
    inspect.add_argument("--run", help="run name or id whose trajectories are listed; the newest one's without it")
    inspect.add_argument("--task", metavar="HASH", help="only those at this task; the beginning or end of its hash")
    inspect.add_argument("--iteration", type=int, metavar="N", help="only those of this iteration; 0 is the warm start")
    inspect.add_argument("--failed", action="store_true", help="only those that were judged and did not succeed")
    inspect.add_argument("--fate", metavar="WORD", help='only those that became this in training, e.g. "dropped"')
    first = inspect.add_mutually_exclusive_group()
    first.add_argument("--best", action="store_true", help="those with the best score first")
    first.add_argument("--worst", action="store_true", help="those with the worst score first")
    inspect.add_argument("--limit", type=_whole(1), metavar="N", help="how many are listed (20)")
    inspect.add_argument("--logprobs", action="store_true", help="with the log-probs of the tokens that were chosen")
    track = commands.add_parser("track", help="send a stored run's numbers to TensorBoard, trackio, wandb or mlflow")
    track.add_argument("run", help="run name or id")
    _set_argument(track, "e.g. --set track.to=tensorboard")
    for command in (evaluate, export, status, inspect, track):
        _store_argument(command)
    plugins = commands.add_parser("plugins", help="the environments and verifiers that are installed")
    check = commands.add_parser("check-environment", help="is an environment whole: prompts, hashes, expert, goals ...")
    check.add_argument("environment", help="its name, or module:object")
    _set_argument(check, "an option, e.g. --set size=5")
    check.add_argument("--seconds", type=float, default=10.0, help="what one call of a method may take (10)")
    check.add_argument("--context", type=int, help="as sampler.max_context; its default without it")
    doctor = commands.add_parser("doctor", help="checks this machine: packages, engines, disk, database, Prefect")
    _store_argument(doctor)
    for command in (evaluate, export, status, inspect, plugins, check, doctor):
        command.add_argument("--json", action="store_true", help="print JSON")


def _add_keeping(commands: argparse._SubParsersAction[_Parser]) -> None:
    db = commands.add_parser(
        "db", help="the database: upgrade its schema, check, vacuum, prune, drop runs, seal weights"
    )
    actions = db.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("upgrade", help="bring the schema to this version's")
    check = actions.add_parser("check", help="is everything there, and is it whole?")
    actions.add_parser("vacuum", help="give the space of what was deleted back to the disk")
    prune = actions.add_parser("prune", help="delete the tokens of old attempts; rows and scores stay")
    prune.add_argument("run", help="run name or id")
    prune.add_argument("--keep", type=int, required=True, metavar="N", help="iterations whose tokens are kept")
    drop = actions.add_parser("drop", help="delete a run with everything of it: rows, weights, results")
    drop.add_argument("run", help="run name or id")
    seal = actions.add_parser("seal", help="give weights that are older than manifests one, as they are")
    seal.add_argument("run", help="run name or id")
    for command in (drop, seal):
        command.add_argument("--yes", action="store_true", help="without asking")
    export = commands.add_parser("export", help="a run's trajectories, or a data set for another trainer, as a file")
    export.add_argument("run", help="run name or id")
    export.add_argument("file", help="to write, ends in .jsonl or .parquet")
    export.add_argument("--what", choices=("trajectories", "sft", "preferences"), default="trajectories")
    take = commands.add_parser("import", help="exported trajectories as a new run")
    take.add_argument("file", help="written by `journeyman export`")
    take.add_argument("--run", required=True, metavar="NAME", help="of the new run")
    take.add_argument("--settings", metavar="FILE", help="TOML file of the run that the trajectories are of")
    for command in (*actions.choices.values(), export, take):
        _store_argument(command)
    check.add_argument("--json", action="store_true", help="print JSON")


def _add_judging(commands: argparse._SubParsersAction[_Parser]) -> None:
    verify = commands.add_parser("verify", help="one verifier on one text or one stored trajectory")
    verify.add_argument("verifier", help="its name, or module:object")
    judged = verify.add_mutually_exclusive_group(required=True)
    judged.add_argument("--text", help='what the agent said last; "-" reads it from stdin')
    judged.add_argument("--trajectory", metavar="ID", help="id of a stored one, or its end")
    verify.add_argument("--goal", help="of the task, as JSON or text; with --text")
    verify.add_argument("--payload", default="{}", help="of the task, as JSON; with --text")
    verify.add_argument("--prompt", default="", help="of the task; with --text")
    verify.add_argument("--environment", default="none", help="of the task; with --text")
    verify.add_argument("--explain", action="store_true", help="what was extracted, what was expected, and why")
    _set_argument(verify)
    rescore = commands.add_parser("rescore", help="judge what is stored with a new verifier or version")
    rescore.add_argument("run", help="run name or id")
    rescore.add_argument("--verifier", required=True, help="its name, or module:object")
    rescore.add_argument("--limit", type=int, metavar="N", help="at most so many attempts; the same command goes on")
    _set_argument(rescore, "e.g. --set verifiers.length.most=80")
    retract = commands.add_parser("retract", help="take a faulty verifier's verdicts back; lists who learned from them")
    retract.add_argument("verifier", help="NAME/VERSION, e.g. goal/1")
    retract.add_argument("--reason", required=True, help="kept with the retraction")
    label = commands.add_parser("label", help="a person's score of a trajectory, or which of two is better")
    label.add_argument("trajectory", help="id or its end")
    says = label.add_mutually_exclusive_group(required=True)
    says.add_argument("--score", type=_number(0.0, 1.0), help="from 0, worst, to 1, best")
    says.add_argument("--better-than", metavar="TRAJECTORY", help="another attempt at the same task")
    says.add_argument("--tied-with", metavar="TRAJECTORY", help="another attempt at the same task")
    label.add_argument("--person", help="who says so; the user's name without it")
    label.add_argument("--comment", help="why")
    revise = commands.add_parser("revise", help="have a judge criticise and revise attempts by principles; keeps pairs")
    revise.add_argument("run", help="run name or id; it must be finished")
    revise.add_argument("--principles", required=True, metavar="FILE", help="text file, one principle a line")
    revise.add_argument(
        "--judge-url", metavar="URL", help="root of a chat API; [verifiers.judge] of the run without it"
    )
    revise.add_argument("--model", help="the judge's; [verifiers.judge] of the run without it")
    revise.add_argument("--limit", type=int, metavar="N", help="at most so many attempts, drawn")
    for command in (verify, rescore, retract, label, revise):
        _store_argument(command)
    for command in (verify, rescore, retract, revise):
        command.add_argument("--json", action="store_true", help="print JSON")


def _add_training(commands: argparse._SubParsersAction[_Parser]) -> None:
    tune = commands.add_parser("finetune", help="a version from what a finished run has stored, without rollouts")
    tune.add_argument("run", help="run name or id")
    objectives = ("grpo", "bc", "dpo")
    tune.add_argument("--objective", choices=objectives, required=True, help="groups, all successes, or preferences")
    tune.add_argument(
        "--from", dest="begin", metavar="VERSION", help="`base` or vN; the newest promoted one without it"
    )
    tune.add_argument(
        "--promote", action="store_true", help="evaluate it on validation, and promote it if it is better"
    )
    _set_argument(tune, "a setting of the update, e.g. --set preference.beta=0.5")
    tune.add_argument("--json", action="store_true", help="print JSON")
    _store_argument(tune)
    none = argparse.SUPPRESS  # PrmOptions and RewardModelOptions have the defaults
    prm = commands.add_parser("train-prm", help="a process reward model from a run's attempts, by Monte-Carlo labels")
    prm.add_argument(
        "--policy", help="version that goes on from each step, e.g. v3; the newest promoted one without it"
    )
    prm.add_argument("--attempts", type=_whole(1), default=none, help="most attempts to label (2000)")
    prm.add_argument("--completions", type=_whole(1), default=none, help="of each step (8)")
    splits = ("newline", "blank_line", "turn", "tool_call")
    prm.add_argument("--split", choices=splits, default=none, help="where steps end (newline)")
    prm.add_argument(
        "--targets", choices=("hard", "soft"), default=none, help="does any completion succeed, or how many"
    )
    pairs = commands.add_parser("train-reward-model", help="an outcome reward model from a run's preferences")
    pairs.add_argument("--policy", help="version to begin with, e.g. v3; the newest promoted one without it")
    pairs.add_argument("--model", help="another folder or hub name to begin with")
    says = ("all", "labels", "rewards")
    pairs.add_argument("--pairs", choices=says, default=none, help="by labels, by rewards, or both (all)")
    pairs.add_argument("--per-group", type=_whole(1), default=none, help="most pairs by reward of one group (4)")
    for command, items in ((prm, "attempts"), (pairs, "pairs")):
        command.add_argument("run", help="run name or id")
        command.add_argument("--output", required=True, metavar="FOLDER", help="where to; must not exist")
        command.add_argument(
            "--held-out",
            type=_number(0.0, 1.0),
            default=none,
            metavar="SHARE",
            help="of the tasks, not trained on (0.2)",
        )
        command.add_argument("--epochs", type=_whole(1), default=none, help="at most (10)")
        command.add_argument(
            "--lora-rank", type=_whole(0), default=none, help="0 trains all weights; else an adapter, merged at the end"
        )
        command.add_argument(
            "--batch", type=_whole(1), default=none, help=f"{items} of one step; the run's warm_start.batch without it"
        )
        command.add_argument(
            "--learning-rate", type=_number(0.0), default=none, help="the run's finetune.learning_rate without it"
        )
        command.add_argument("--json", action="store_true", help="print JSON")
        _store_argument(command)


def _whole(least: int) -> Callable[[str], int]:
    """What reads a whole number that is `least` or more."""

    def read(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is below {least}")
        return number

    read.__name__ = "whole number"  # argparse says "invalid whole number value: 'x'"
    return read


def _number(least: float, most: float = float("inf")) -> Callable[[str], float]:
    """What reads a number from `least` to `most`."""

    def read(text: str) -> float:
        number = float(text)
        if not (math.isfinite(number) and least <= number <= most):
            raise argparse.ArgumentTypeError(f"{text} is not in [{least:g}, {most:g}]")
        return number

    read.__name__ = "number"
    return read


def _settings_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("settings", help="TOML file, e.g. examples/countdown.toml")
    _set_argument(command)


def _set_argument(command: argparse.ArgumentParser, example: str = "e.g. --set run.seed=1") -> None:
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="overrides", help=example)


def _store_argument(command: argparse.ArgumentParser) -> None:
    default = os.environ.get("JOURNEYMAN_STORE", DEFAULT_STORE)
    told = hidden(default).replace("%", "%%")  # argparse's own sign
    command.add_argument("--store", default=default, metavar="URL", help=f"the database (default {told})")


if __name__ == "__main__":
    sys.exit(main())
