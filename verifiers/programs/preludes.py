"""What a program gets before its own text: the imports that contest sites make beforehand."""

from __future__ import annotations

from functools import cache

from journeyman.agent.errors import SettingsError, suggestion
from journeyman.agent.sandbox.sandbox import PYTHON, Limits, run

# The names of LeetCode and of LiveCodeBench's harness. Later lines win: `Counter` is that of collections, `bisect` and
# `copy` are modules, and `pow`, `open` and `sum` stay built-in.
COMPETITION = """\
from typing import *
from string import *
from re import *
from datetime import *
from random import *
from statistics import *
from operator import *
from math import *
from fractions import Fraction
from decimal import Decimal, getcontext
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from itertools import *
from functools import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from io import *
from json import *
from time import perf_counter
from sys import *
from builtins import *
import array, bisect, collections, copy, dataclasses, datetime, decimal, enum, fractions, functools, heapq, io
import itertools, json, math, operator, os, random, re, statistics, string, sys, time, typing
try:
    from sortedcontainers import SortedDict, SortedList, SortedSet
except ImportError:
    pass
sys.setrecursionlimit(50000)
"""
NAMED = {"": "", "competition": COMPETITION}


def prelude_text(prelude: str) -> str:
    """The prelude of that name, or the text itself; raises SettingsError where it is neither."""
    if prelude in NAMED:
        return NAMED[prelude]
    if prelude.isidentifier():
        raise SettingsError(
            f"option 'prelude': unknown name {prelude!r}: {suggestion(prelude, ['competition'])}; or give Python text"
        )
    try:
        compile(prelude, "prelude", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # a text with a null byte, or half a character
        raise SettingsError(f"option 'prelude' is no Python: {error}; 'competition' is the one with a name") from None
    return prelude


@cache
def try_prelude(text: str, readable: tuple[str, ...], memory: int) -> None:
    """Runs the text alone, in a sandbox, once a process; raises SettingsError where it fails."""
    if not text:
        return
    run_it = "exec(compile(open('prelude.py').read(), 'prelude', 'exec', dont_inherit=True))"
    code = f"import sys\nsys.path += {list(readable)}\ndel sys\n{run_it}"
    files = {"prelude.py": text.encode()}
    outcome = run([*PYTHON, "-c", code], files=files, readable=readable, limits=Limits(seconds=60.0, memory=memory))
    if outcome.exit_code:
        last = outcome.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {outcome.exit_code}"]
        raise SettingsError(
            f"option 'prelude' fails before any program: {outcome.limit or last[0][:300]}; mend its text"
        )
