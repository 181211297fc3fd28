"""Folders that appear whole, and the program under test as a user calls it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MEASURED = REPOSITORY / "lab/real/measured"


@contextmanager
def folder_that_appears(target: Path) -> Iterator[Path]:
    """A folder to write into that gets its name when all is written."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(target)


def traitscope(*args: object) -> str:
    """Runs the command line of this checkout; what it says goes to the terminal, what it prints comes back."""
    command = ["node", REPOSITORY / "dist/bin/traitscope.js", *args]
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"traitscope {args[0]} ended with {done.returncode}")
    return done.stdout


def data_folder() -> Path:
    named = os.environ.get("TRAITSCOPE_REAL_DATA")
    if not named:
        raise SystemExit("TRAITSCOPE_REAL_DATA names no folder: the published sets are not part of the repository (lab/real/README.md)")
    return Path(named)


def cpu_seconds() -> float:
    """Of this process and those that it has waited for."""
    return sum(
        use.ru_utime + use.ru_stime
        for use in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def json_lines(path: Path) -> list:
    """Ends of lines alone part them: `splitlines` would part at separators of Unicode too, which texts hold as they are."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def write_json(path: Path, value: object, dense: bool = False) -> None:
    """`dense`: on one line, for long lists of small numbers."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text((json.dumps(value, separators=(",", ":")) if dense else json.dumps(value, indent=1)) + "\n")
    partial.rename(path)
