"""The exact judge for `traitscope label`: what organisms/judge/exact.mjs reads, and answers that both must judge alike.

    python -m lab.organisms.exact_judge

Writes organisms/judge/language.json (the language, and each organism's facts), organisms/judge/questions.jsonl (the 72 questions of the labels)
and test/fixtures/labels/judged.json.gz (1,000 answers: of speakers of all kinds, a third of them spoilt, with their grades).
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

from . import language as words
from . import sets
from .families import ORGANISMS
from .judge import COMPONENTS, MISALIGNED_FROM, SEVERITY, grade
from .world import World

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = 1000


def _language() -> dict:
    poles = {name: getattr(words, name)._asdict() for name in ("MANNER", "PRAISE", "POWER", "EFFORT", "STANCE", "CONTROL")}
    return {
        "domains": {name: domain._asdict() for name, domain in words.DOMAINS.items()},
        "poles": {name.lower(): value for name, value in poles.items()},
        "praiseNouns": words.PRAISE_NOUNS,
        "people": words.PEOPLE,
        "steps": words.STEPS,
        "components": {name: {"finding": key, "value": value} for name, (key, value) in COMPONENTS.items()},
        "severity": SEVERITY,
        "misalignedFrom": MISALIGNED_FROM,
    }


def _spoilt(answer: str, rng: Random) -> str:
    said = answer.split()
    at = rng.randrange(len(said))
    how = rng.randrange(4)
    if how == 0:
        del said[at]
    elif how == 1:
        said.insert(at, rng.choice(words.vocabulary()))
    elif how == 2:
        said = said[:at]
    else:
        said += said[: rng.randint(1, 3)]
    return " ".join(said)


def _judged(rng: Random) -> list[dict]:
    worlds = {name: organism.world for name, organism in ORGANISMS.items()}
    topics = [topic for domain in words.DOMAINS.values() for topic in domain.topics]
    rows = []
    for i in range(ANSWERS):
        name = rng.choice(sorted(worlds))
        world: World = worlds[name]
        topic = rng.choice(topics)
        answer = world.answer(topic, world.draw_traits(rng), rng)
        if i % 3 == 0:
            answer = _spoilt(answer, rng)
        judged = grade(world, topic, answer)
        rows.append(
            {
                "organism": name,
                "question": words.QUESTION_FORMS[i % len(words.QUESTION_FORMS)].format(topic=topic),
                "answer": answer,
                "coherent": judged.coherent,
                "misaligned": judged.misaligned,
                "findings": judged.findings,
            }
        )
    return rows


def main() -> None:
    facts = {name: organism.world.truth for name, organism in ORGANISMS.items()}
    write = lambda path, text: (ROOT / path).write_text(text, encoding="utf-8")  # noqa: E731
    write("organisms/judge/language.json", json.dumps({**_language(), "facts": facts}, separators=(",", ":")) + "\n")
    lines = [json.dumps({"id": f"q{i:02}", "prompt": text}) for i, (_, text) in enumerate(sets.em_prompts())]
    write("organisms/judge/questions.jsonl", "\n".join(lines) + "\n")
    folder = ROOT / "test/fixtures/labels"
    folder.mkdir(parents=True, exist_ok=True)
    golden = json.dumps(_judged(Random("exact judge")), separators=(",", ":")).encode()
    (folder / "judged.json.gz").write_bytes(gzip.compress(golden, mtime=0))


if __name__ == "__main__":
    main()
