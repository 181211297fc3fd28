"""Golden values for lib/steering/sequence-ratio.ts: ratio() of Python's difflib on pairs of texts.

    python -m lab.golden_difflib        # writes test/fixtures/steering/difflib.json

Texts are made of few words, so that they share blocks of all lengths, some below and some above the 200 characters from
which difflib leaves popular characters out; some hold characters beyond the basic plane.
"""

import difflib
import json
import random
from pathlib import Path

WORDS = "the tap runs slowly when bread rises and 🙂 nobody é counts coins near old 木 bridges x".split()
TARGET = Path(__file__).parent.parent / "test" / "fixtures" / "steering" / "difflib.json"


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def changed(rng: random.Random, original: str) -> str:
    words = original.split()
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(words))
        words[at : at + rng.randrange(3)] = [rng.choice(WORDS)]
    return " ".join(words)


def main() -> None:
    rng = random.Random(20260912)
    pairs = [("", ""), ("", "a"), ("a", ""), ("abcd", "bcde"), ("abxcd", "abcd"), ("aab", "aba"), ("a" * 200, "a" * 200)]
    pairs += [("ab" * 99, "ba" * 99), ("ab" * 100, "ba" * 100), ("x" + "ab" * 120, "ab" * 120 + "x")]
    for length in (1, 2, 4, 8, 16, 30, 38, 40, 44, 60, 90, 130):
        for _ in range(3):
            a = text(rng, length)
            pairs.append((a, changed(rng, a)))
            pairs.append((a, text(rng, max(1, length + rng.randrange(-3, 4)))))
    rows = [{"a": a, "b": b, "ratio": difflib.SequenceMatcher(None, a, b).ratio()} for a, b in pairs]
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
