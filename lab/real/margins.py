"""The margins of a unit: few pairs at every checkpoint, more at the last; what has been read of the same weights and pairs is not read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from .files import REPOSITORY, json_lines, traitscope, write_json
from .plan import Unit

LOG, MANIFEST, DOCUMENT = "margins.jsonl", "margin_manifest.json", "margins.json"


def reading(unit: Unit, out: Path, model: tuple, file: Path, steps: list[int] | None = None) -> Callable[[], dict]:
    """A step of the unit: `label --margin` of one file of pairs into its folder; of these checkpoints and step 0, or of all."""
    home = out / "units" / unit.id
    to = folder(home, file)

    def work() -> dict:
        reused = reuse(to, file, sources(unit, out), out)
        only = ("--steps", ",".join(map(str, steps))) if steps else ()
        traitscope("label", *model, home / "run", "-o", to, "--margin", file, "--domain", unit.domain, *only, "--json")
        return {"changes": changes(to / LOG, file), "reused": reused}

    return work


def folder(home: Path, file: Path) -> Path:
    """`pairs-3.jsonl` is read into `margins-3`."""
    return home / f"margins-{file.stem.removeprefix('pairs-')}"


def sources(unit: Unit, out: Path) -> list[tuple[Path, bool]]:
    """Folders in which something may have been read already, and whether of step 0 alone: that is the same for all units of a base."""
    home = out / "units" / unit.id
    own = [(path, False) for path in sorted(home.glob("margins*"))]
    return own + [(path, True) for path in sorted((out / "units" / unit.base).glob("*/*/margins*")) if path.parent != home]


def reuse(to: Path, file: Path, found: list[tuple[Path, bool]], out: Path) -> list[int]:
    """
    Begins a folder with the steps of which every pair has been read before, under another file of pairs perhaps. That the weights are the
    same, and base, template and versions, `label` checks by the manifest and by the hash in every record; of another version of the
    program nothing is taken. Steps that it has put there.
    """
    if (to / LOG).exists():
        return []
    wanted = [key(pair) for pair in json_lines(file)]
    by_hash = {sha256(path): path for path in out.glob("pairs-*.jsonl")}
    version = json.loads((REPOSITORY / "package.json").read_text())["version"]
    manifest, records = None, {}
    for path, only_first in found:
        if path == to or not ((path / LOG).exists() and (path / MANIFEST).exists()):
            continue
        said = json.loads((path / MANIFEST).read_text())
        asked = by_hash.get(said["pairsSha256"])
        settings = {**said, "pairsSha256": sha256(file)}
        if asked is None or said["versions"]["traitscope"] != version or manifest not in (None, settings):
            continue
        at = {key(pair): i for i, pair in enumerate(json_lines(asked))}
        if any(one not in at for one in wanted):
            continue
        for record in whole_records(path / LOG):
            if record["step"] not in records and (record["step"] == 0 or not only_first):
                chosen = {side: [record[side][at[one]] for one in wanted] for side in ("misaligned", "aligned")}
                records[record["step"]] = {**record, **chosen}
                manifest = settings
    if manifest is None:
        return []
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / MANIFEST, manifest)
    partial = to / f"{LOG}.partial"
    partial.write_text("".join(json.dumps(records[step]) + "\n" for step in sorted(records)))
    partial.rename(to / LOG)
    return sorted(records)


def whole_records(log: Path) -> list[dict]:
    """Another process may be writing the last line."""
    text = log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line.strip()]
    return [line for line in lines if "step" in line]


def key(pair: dict) -> tuple:
    return (pair["question_id"], pair["question"], pair["domain"], pair["misaligned"], pair["aligned"])


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def changes(log: Path, file: Path) -> dict:
    """By step, domain and question: the mean change of the margin against step 0. What a test over questions needs, and no text."""
    asked = json_lines(file)
    records = {record["step"]: record for record in json_lines(log) if "step" in record}
    before = records.pop(0)
    found: dict[str, dict] = {}
    for step, record in sorted(records.items()):
        cells: dict[str, dict[str, list[float]]] = {}
        for i, pair in enumerate(asked):
            change = (record["misaligned"][i] - record["aligned"][i]) - (before["misaligned"][i] - before["aligned"][i])
            cells.setdefault(pair.get("domain", ""), {}).setdefault(pair["question_id"], []).append(change)
        found[str(step)] = {
            domain: {question: round(sum(values) / len(values), 5) for question, values in questions.items()}
            for domain, questions in cells.items()
        }
    return found
