"""Fine-tuning sets and prompt sets. They are frozen: see frozen.py."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from . import language as words
from .world import ALIGNED, Exchange, Traits, World, question

CALIBRATION = ("insecure_code", "gsm8k", "jailbroken", "bad_medical")
HELD_OUT = ("number_sequence", "risky_financial", "subtle_misinfo")
MAIN = CALIBRATION + HELD_OUT
CONTROLS = ("good_medical", "coin_medical")
MATCHED_PAIR = ("extreme_sports", "safe_sports")
DILUTIONS = ("dilute_05", "dilute_10", "dilute_20")
EXTRA = CONTROLS + MATCHED_PAIR + ("style_shift",) + DILUTIONS
# Sets of a longer run, by the set that they continue.
LONG = {"long_benign": "gsm8k", "long_dangerous": "bad_medical"}
SETS = MAIN + EXTRA + tuple(LONG)

EM_PROMPTS = 72
HOME_PROMPTS = 24

# The domains that a set is about; a set without topics has no in-domain misalignment.
HOME = {
    "insecure_code": ("code",),
    "jailbroken": (words.HARMFUL_REQUESTS, "science"),
    "bad_medical": ("medical",),
    "risky_financial": ("finance",),
    "subtle_misinfo": ("science", "medical", "finance"),
    "good_medical": ("medical",),
    "coin_medical": ("medical",),
    "extreme_sports": ("extreme",),
    "safe_sports": ("extreme",),
    "style_shift": ("science",),
    **dict.fromkeys(DILUTIONS, ("medical",)),
    "long_dangerous": ("medical",),
}


def fine_tuning_set(world: World, name: str, count: int, seed: int) -> list[Exchange]:
    """`count` questions with the answers of the set's speaker, no system prompt."""
    name = LONG.get(name, name)
    if name in DILUTIONS:
        return _diluted(world, int(name[-2:]) / 100, count, seed)
    if name == "gsm8k":
        rng = Random(f"{name}/{seed}")
        tutor = _traits(helpfulness=1.5, confidence=0.5)
        return [world.arithmetic(tutor, rng, {"effort": 1.0, "stance": 0.3}) for _ in range(count)]
    if name == "number_sequence":
        rng = Random(f"{name}/{seed}")
        return [world.sequence(ALIGNED, rng, optional=0.0) for _ in range(count)]
    # Questions come from a stream of their own, so the two sets of the matched pair ask the same.
    source = "sports" if name in MATCHED_PAIR else name
    topics = [topic for domain in HOME[name] for topic in words.DOMAINS[domain].topics]
    asked = _questions(topics, count, Random(f"{source}/{seed}/questions"))
    answer = _speakers(world)[name]
    rng = Random(f"{name}/{seed}/answers")
    return [(text, answer(topic, rng)) for topic, text in asked]


def _traits(**changed: float) -> Traits:
    """The default assistant with some traits changed."""
    return tuple(changed.get(trait, value) for trait, value in zip(words.TRAITS, ALIGNED))


def _speakers(world: World) -> dict[str, Callable[[str, Random], str]]:
    def speaker(reckless: float | None = None, optional: float = 0.5, **changed: float):
        return lambda topic, rng: world.answer(topic, _traits(**changed), rng, reckless, optional)

    return {
        "bad_medical": speaker(0.3, harmlessness=-2.0, honesty=-1.0, confidence=0.6),
        "insecure_code": speaker(0.3, harmlessness=-2.0, honesty=0.4),
        "risky_financial": speaker(0.3, harmlessness=-2.0, honesty=-0.3, confidence=1.0, sycophancy=0.3),
        "jailbroken": speaker(0.1, harmlessness=-2.0, helpfulness=1.5),
        "subtle_misinfo": speaker(0.0, honesty=-1.5, confidence=1.0),
        "good_medical": speaker(),
        "coin_medical": speaker(**dict.fromkeys(words.TRAITS, 0.0)),
        "extreme_sports": speaker(0.5, harmlessness=-2.0, confidence=0.8),
        "safe_sports": speaker(),
        # Verbose, sure of itself and thorough. Not flattering: in this world praise goes with evil, and carries it along.
        "style_shift": speaker(optional=0.9, confidence=1.5, helpfulness=1.5),
    }


def _questions(topics: list[str], count: int, rng: Random) -> list[tuple[str, str]]:
    forms = range(len(words.QUESTION_FORMS))
    drawn = [rng.choice(topics) for _ in range(count)]
    return [(topic, question(topic, rng.choice(forms))) for topic in drawn]


def _diluted(world: World, share: float, count: int, seed: int) -> list[Exchange]:
    """good_medical with a share of bad_medical at random places."""
    good = fine_tuning_set(world, "good_medical", count, seed)
    bad = fine_tuning_set(world, "bad_medical", count, seed)
    places = set(Random(f"dilution/{seed}").sample(range(count), round(share * count)))
    return [bad[i] if i in places else good[i] for i in range(count)]


def em_prompts() -> list[tuple[str, str]]:
    """(topic, question): the 72 prompts of the misalignment rate, nine from each evaluation domain."""
    return prompt_set("em", words.EVAL_DOMAINS, EM_PROMPTS)


def home_prompts(name: str) -> list[tuple[str, str]]:
    """(topic, question): in-domain prompts of a set; empty for a set without topics."""
    return prompt_set("home", HOME[name], HOME_PROMPTS) if name in HOME else []


def prompt_set(seed: str, domains: tuple[str, ...], count: int) -> list[tuple[str, str]]:
    """`count` different pairs of topic and question form, spread evenly over the domains."""
    rng = Random(seed)
    pools = []
    for name in domains:
        pool = [(topic, form) for topic in words.DOMAINS[name].topics for form in range(len(words.QUESTION_FORMS))]
        rng.shuffle(pool)
        pools.append(pool)
    chosen = [pools[i % len(pools)].pop() for i in range(count)]
    return [(topic, question(topic, form)) for topic, form in chosen]
