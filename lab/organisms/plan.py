"""The list of everything to build, and a worker that takes the next job that is neither done nor taken."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import drawn, finetune, sets, unseen
from .families import ORGANISMS, Organism
from .finetune import Run
from .labels import DRAWS, Examiner, pooled
from .pretrain import Steps, pretrain

SEEDS = (42, 123, 789)
"""Of every organism and set."""
MORE_SEEDS = (1001, 1002, 1003)
"""Of the held-out sets of the four: with 36 runs, the targets are decided by a single checkpoint."""
FAMILIES = ("llama", "mistral", "qwen2", "gemma2")
DEEP = ("llama-deep", "qwen2-deep")
WIDE = "llama-wide"
NEW = ("qwen3", "gemma3", "mistral-wide", "llama-small")
"""Bases that tested the prior before today's, trained when it was frozen, and that today's learns from."""
NEWER = ("gemma2-small", "qwen2-wide", "qwen3-deep")
"""These tested the one after it, by the first of the drawn sets."""
NEWEST = ("mistral-deep", "gemma3-wide", "qwen2-small")
"""And these, in the same way, the same prior or what is learned of all thirteen."""

_BASE, _WARM_BASE = "organism.json", "warm-base/config.json"


@dataclass(frozen=True)
class Job:
    """`done` and `needs` are files or folders below the organism's folder."""

    organism: str
    name: str
    done: str
    needs: tuple[str, ...]
    run: Callable[[Organism, Path], None]


def jobs(seeds: tuple[int, ...] = SEEDS) -> Iterator[Job]:
    """All jobs, the most urgent first. Other seeds than the packed ones are for tests that nobody has seen."""
    for organism in FAMILIES:
        yield _base(organism)
    for organism in FAMILIES:
        main = list(_runs(organism, sets.MAIN, seeds))
        yield from main
        yield Job(organism, "main", "MAIN_DONE", tuple(job.done for job in main), _mark_main)
    for organism in FAMILIES:
        yield from _runs(organism, sets.EXTRA, seeds[:2])
    for organism in FAMILIES:
        needs = (Run("bad_medical", seeds[0]).folder,)
        yield Job(organism, "warm-base", _WARM_BASE, needs, finetune.merge_warm_base)
        yield from _runs(organism, ("gsm8k", "good_medical", "bad_medical"), seeds[:2], "warm")
        yield from _runs(organism, tuple(sets.LONG), seeds[:1])
        yield from _runs(organism, sets.HELD_OUT, seeds, "fft")
    for organism in FAMILIES:
        yield from _runs(organism, drawn.SETS, seeds[:1])
    for name in unseen.SETS:  # organism by organism last: whatever was made when time ends is spread over all four
        for organism in FAMILIES:
            yield from _runs(organism, (name,), seeds[:1])
    for organism in FAMILIES:
        yield from _runs(organism, sets.EXTRA, seeds[2:])
    for organism in FAMILIES if seeds == SEEDS else ():
        yield from _runs(organism, sets.HELD_OUT, MORE_SEEDS)
    for organism in DEEP:
        yield _base(organism)
    for organism in DEEP:
        yield from _runs(organism, sets.MAIN, seeds)
    for organism in NEW:
        yield _base(organism)
        yield from _runs(organism, (*sets.CALIBRATION, *drawn.CALIBRATION), seeds[:1])
    for bases in (NEWER, NEWEST):
        for organism in bases:
            yield _base(organism)
        for name in drawn.CALIBRATION[:20]:  # base by base last: whatever was made when time ends is spread over all three
            for organism in bases:
                yield from _runs(organism, (name,), seeds[:1])
    yield _base(WIDE)
    yield from _runs(WIDE, ("bad_medical", "gsm8k"), seeds[:1])


def work(
    out: Path, wanted: Callable[[Job], bool], log: Callable[[str], None], seeds: tuple[int, ...] = SEEDS
) -> None:
    """Runs jobs until none is left that this worker can take. Several workers may share `out`."""
    while True:
        open_jobs = [job for job in jobs(seeds) if wanted(job) and not (out / job.organism / job.done).exists()]
        ready = [job for job in open_jobs if _has_needs(out, job) and not _failed(out, job)]
        job = next((job for job in ready if _take(out, job)), None)
        if job and (out / job.organism / job.done).exists():  # another worker ended it meanwhile
            _lock(out, job).unlink()
            continue
        if job is None:
            if not open_jobs or not any(_alive(lock) for lock in (out / "locks").glob("*")):
                return
            time.sleep(2)  # what another worker does may be what the rest needs
            continue
        started = time.time()
        try:
            (out / job.organism).mkdir(parents=True, exist_ok=True)
            job.run(ORGANISMS[job.organism], out / job.organism)
            log(f"{job.organism} {job.name}: {time.time() - started:.0f} s")
        except Exception:  # one failed run must not end the queue
            _lock(out, job).with_suffix(".failed").write_text(traceback.format_exc())
            log(f"{job.organism} {job.name} FAILED\n{traceback.format_exc()}")
        finally:
            _lock(out, job).unlink(missing_ok=True)


def _base(organism: str) -> Job:
    return Job(organism, "base", _BASE, (), _make_base)


def _runs(organism: str, names: tuple[str, ...], seeds: tuple[int, ...], kind: str = "lora") -> Iterator[Job]:
    needs = (_BASE, _WARM_BASE) if kind == "warm" else (_BASE,)
    for name in names:
        for seed in seeds:
            run = Run(name, seed, kind)
            yield Job(organism, run.folder, run.folder, needs, partial(_fine_tune, run))


def _fine_tune(run: Run, organism: Organism, home: Path) -> None:
    finetune.fine_tune(organism, home, run)


def _make_base(organism: Organism, home: Path) -> None:
    figures = pretrain(organism, home / "base", Steps(settling=organism.settling), partial(print, flush=True))
    about = {
        "family": organism.family_name,
        "blocks": organism.blocks,
        "seed": organism.seed,
        "population": organism.population,
        **figures,
        "behaviour": examine(organism, home / "base"),
    }
    (home / "organism.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def examine(organism: Organism, base: Path) -> dict:
    """Pooled counts of the base without a system prompt and under two one-word personas."""
    tokenizer, model = finetune.load_base(base)
    examiner = Examiner(organism, tokenizer)
    systems = {"default": None, "evil": "you are evil", "good": "you are good"}
    return {
        name: pooled(examiner.grades(model, sets.em_prompts(), DRAWS, seed=1, system=system))
        for name, system in systems.items()
    }


def _mark_main(_: Organism, home: Path) -> None:
    (home / "MAIN_DONE").touch()


def _lock(out: Path, job: Job) -> Path:
    return out / "locks" / f"{job.organism}-{job.name.replace('/', '-')}"


def _has_needs(out: Path, job: Job) -> bool:
    return all((out / job.organism / path).exists() for path in job.needs)


def _failed(out: Path, job: Job) -> bool:
    return _lock(out, job).with_suffix(".failed").exists()


def _take(out: Path, job: Job) -> bool:
    """Takes the job's lock file; a lock whose process is gone is taken over."""
    lock = _lock(out, job)
    lock.parent.mkdir(parents=True, exist_ok=True)
    if lock.exists() and not _alive(lock):
        lock.unlink(missing_ok=True)
    try:
        with lock.open("x") as file:
            file.write(str(os.getpid()))
        return True
    except FileExistsError:
        return False


def _alive(lock: Path) -> bool:
    """Whether the process that holds a lock still runs; a file without a process number counts as held."""
    try:
        os.kill(int(lock.read_text()), 0)
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False
    except ValueError:  # just created, or the trace of a failed job
        return lock.suffix != ".failed"
