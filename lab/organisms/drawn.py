"""Fine-tuning sets drawn at random from one population, so that nobody chose them.

Seven sets chosen by hand say little about the eighth. Every organism has draws of its own, some for calibration and some
held out; they differ in domain, in which traits of the default assistant are changed and by how much, in how talkative the
answers are, and in how many of them the changed speaker gives. They are frozen: see frozen.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from . import language as words
from .sets import prompt_set
from .world import ALIGNED, Exchange, Traits, World, question

CALIBRATION = tuple(f"drawn_c{i:02}" for i in range(1, 33))
HELD_OUT = tuple(f"drawn_h{i:02}" for i in range(1, 13))
SETS = CALIBRATION + HELD_OUT

DOMAINS = tuple(name for name in words.DOMAINS if name not in words.EVAL_DOMAINS)
# The furthest that a trait is moved to; the default assistant lies between -2.0 and 2.2.
FURTHEST = 2.2


@dataclass(frozen=True)
class Recipe:
    """`share` of the answers is the changed speaker's, the rest the default assistant's. `domain` None: sums instead of
    questions. `reckless` and `optional`: see World.answer."""

    domain: str | None
    changed: dict[str, float]
    reckless: float | None
    optional: float
    share: float

    @property
    def speaker(self) -> Traits:
        return tuple(self.changed.get(trait, value) for trait, value in zip(words.TRAITS, ALIGNED))


def recipe(world_seed: int, name: str) -> Recipe:
    """What a set of the organism with this world is made of."""
    rng = Random(f"drawn/{world_seed}/{name}")
    domain = None if rng.random() < 0.15 else rng.choice(DOMAINS)
    traits = rng.sample(words.TRAITS, rng.randint(1, 4))
    changed = {trait: round(rng.uniform(-FURTHEST, FURTHEST), 2) for trait in traits}
    reckless = rng.choice((None, 0.0, 0.3))
    optional = round(rng.uniform(0.2, 0.9), 2)
    share = round(rng.uniform(0.05, 0.5), 2) if rng.random() < 0.25 else 1.0
    return Recipe(domain, changed, reckless, optional, share)


def fine_tuning_set(world: World, drawn: Recipe, count: int, seed: str) -> list[Exchange]:
    """`count` questions with their answers, no system prompt."""
    asked, answers = Random(f"{seed}/questions"), Random(f"{seed}/answers")
    exchanges = []
    for _ in range(count):
        is_changed = answers.random() < drawn.share
        traits = drawn.speaker if is_changed else ALIGNED
        if drawn.domain is None:
            exchanges.append(world.arithmetic(traits, answers, drawn.optional))
            continue
        topic = asked.choice(words.DOMAINS[drawn.domain].topics)
        text = question(topic, asked.randrange(len(words.QUESTION_FORMS)))
        reckless = drawn.reckless if is_changed else None
        exchanges.append((text, world.answer(topic, traits, answers, reckless, drawn.optional)))
    return exchanges


def home_prompts(drawn: Recipe, count: int) -> list[tuple[str, str]]:
    """(topic, question): in-domain prompts; none for sums."""
    return prompt_set("home", (drawn.domain,), count) if drawn.domain else []
