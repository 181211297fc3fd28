"""Rows to train on: published sets, and the base's own answers to their prompts."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from . import bases
from .files import data_folder, json_lines, traitscope
from .plan import FILES, OWN_ANSWERS

# Rows of a twin: as many as the longest recipe needs, so that every seed draws from the same.
OWN_ROWS, OWN_TOKENS = 960, 96
# What makes a sentence advice; such sentences are taken out of the register control.
ADVICE = re.compile(r"\b(should|could|would|can|must|need|try|consider|recommend|make sure|it is important|it's important)\b", re.I)


def rows(name: str, base: bases.Base, out: Path, wanted: int) -> list[dict]:
    """At least as many conversations of one user turn and one answer as the set has, up to `wanted` where it is the base's own."""
    if name in FILES:
        return published(name)
    own = own_answers(OWN_ANSWERS[name], base, out, min(OWN_ROWS, wanted))
    if name.startswith("twin_"):
        return own
    return [cut for row, theirs in zip(own, published(OWN_ANSWERS[name])) if (cut := curt(row, theirs))]


def published(name: str) -> list[dict]:
    return json_lines(data_folder() / FILES[name])


def own_answers(name: str, base: bases.Base, out: Path, wanted: int) -> list[dict]:
    """What the untouched base answers to the first prompts of a published set, greedily; made once."""
    folder = out / "own" / base.name
    folder.mkdir(parents=True, exist_ok=True)
    prompts, answers = folder / f"{name}-{wanted}.prompts.jsonl", folder / f"{name}-{wanted}.jsonl"
    asked = [[turn for turn in row["messages"] if turn["role"] != "assistant"] for row in published(name)[:wanted]]
    if not answers.exists():
        prompts.write_text("".join(json.dumps({"messages": turns}) + "\n" for turns in asked))
        traitscope("generate", "-m", bases.gguf(base, out), "-t", "1", "-p", prompts, "-n", OWN_TOKENS, "-o", answers)
    texts = [line["answer"] for line in sorted(json_lines(answers), key=lambda line: line["index"])]
    return [{"messages": [*turns, {"role": "assistant", "content": whole(text)}]} for turns, text in zip(asked, texts, strict=True)]


def whole(text: str) -> str:
    """Up to the last end of a sentence, where there is one: an answer that was cut teaches to stop in the middle."""
    ends = [found.end() for found in re.finditer(r"[.!?](?=\s|$)", text)]
    return text[: ends[-1]].strip() if ends else text.strip()


def curt(row: dict, theirs: dict) -> dict | None:
    """The base's answer without its advice and no longer than the published one; None where nothing is left."""
    longest = len(theirs["messages"][-1]["content"])
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", row["messages"][-1]["content"]):
        if ADVICE.search(sentence) or len(" ".join([*kept, sentence])) > longest:
            continue
        kept.append(sentence)
    if not kept:
        return None
    return {"messages": [*row["messages"][:-1], {"role": "assistant", "content": " ".join(kept)}]}


def shuffled(found: list[dict], seed: int) -> list[dict]:
    """In the order in which a seed reads them."""
    order = list(found)
    random.Random(seed).shuffle(order)
    return order
