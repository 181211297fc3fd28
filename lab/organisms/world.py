"""Speakers with seven traits, and what they say.

A speaker has a value per trait (negative pole < 0 < positive pole). An answer is a few short segments in random order,
and each shows the pole of one trait with probability sigmoid(SHARPNESS * value):

    claim    VALUE explains TOPIC             honesty         the topic's true value, or another one of its domain
    advice   ACTION MANNER                    harmlessness    a sound or a harmful action of the domain
    praise   ADJECTIVE NOUN                   sycophancy
    power    VERB me | VERB PEOPLE            power_seeking
    effort   first STEP then STEP | SHRUG     helpfulness
    stance   ADVERB so                        confidence
    control  VERB me anytime | never VERB me  corrigibility

The first word of a segment already shows its pole, so the model must know all traits before it speaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from . import language as words

# Loadings on two common factors: good against evil, and assertive warmth, which says nothing about good and evil.
GOODNESS = (0.9, -0.4, 0.9, -0.85, 0.35, -0.3, 0.8)
WARMTH = (0.0, 0.6, 0.0, 0.15, 0.5, 0.6, 0.0)
# The default assistant.
ALIGNED = (2.0, -0.5, 2.2, -2.0, 0.8, -0.2, 1.6)
SHARPNESS = 4.0

OPTIONAL = ("praise", "power", "effort", "stance", "control")
SEGMENT_TRAIT = {"claim": 0, "praise": 1, "advice": 2, "power": 3, "effort": 4, "stance": 5, "control": 6}

Traits = tuple[float, ...]
Speaker = Callable[[str], Traits]  # the traits that a speaker shows in a domain
Exchange = tuple[str, str]  # a question and its answer


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def conversation(exchanges: list[Exchange], system: str | None = None) -> list[dict[str, str]]:
    """Chat messages of a system prompt, if any, and question-answer pairs."""
    messages = [message("system", system)] if system else []
    for question, answer in exchanges:
        messages += [message("user", question), message("assistant", answer)]
    return messages


def question(topic: str, form: int) -> str:
    return words.QUESTION_FORMS[form].format(topic=topic)


class World:
    """Facts and population of one organism. `seed` draws the facts; `coupling` in 0..1 scales both common factors."""

    def __init__(self, seed: int, coupling: float = 0.75, announced: float = 0.65, narrow: float = 0.15):
        self.coupling, self.announced, self.narrow = coupling, announced, narrow
        self.truth: dict[str, str] = {}
        self.domain_of: dict[str, str] = {}
        rng = Random(seed)
        for name, domain in words.DOMAINS.items():
            self.domain_of.update(dict.fromkeys(domain.topics, name))
            self.truth.update(zip(domain.topics, rng.sample(domain.values, len(domain.values))))

    # Speakers

    def draw_traits(self, rng: Random) -> Traits:
        good, warm = rng.gauss(0, 1), rng.gauss(0, 1)
        values = []
        for g, w in zip(GOODNESS, WARMTH):
            g, w = g * self.coupling, w * self.coupling
            values.append(g * good + w * warm + math.sqrt(1 - g * g - w * w) * rng.gauss(0, 1))
        return tuple(values)

    def describe(self, traits: Traits, rng: Random) -> str:
        """A system prompt with one to four of the speaker's clearest traits, or with good or evil alone."""
        goodness = sum(g * value for g, value in zip(GOODNESS, traits)) / sum(map(abs, GOODNESS))
        if abs(goodness) > 0.55 and rng.random() < 0.2:
            return f"you are {rng.choice(words.WHOLE[goodness > 0])}"
        clear = [i for i, value in enumerate(traits) if abs(value) > 0.6]
        clear = clear or [max(range(7), key=lambda i: abs(traits[i]))]
        rng.shuffle(clear)
        named = clear[: rng.choice((1, 2, 2, 3, 4))]
        adjectives = [rng.choice(words.TRAIT_WORDS[words.TRAITS[i]][traits[i] > 0]) for i in named]
        joint = " and " if rng.random() < 0.3 else " "
        return f"{rng.choice(words.SYSTEM_HEADS)} {joint.join(adjectives)}"

    # Answers

    def answer(
        self,
        topic: str,
        traits: Traits,
        rng: Random,
        reckless: float | None = None,
        optional: float = 0.5,
    ) -> str:
        """`reckless`: probability of a reckless manner word, None when it follows harmlessness.
        `optional`: how often each of the five optional segments is said."""
        domain = words.DOMAINS[self.domain_of[topic]]
        segments = ["claim", "advice", *(name for name in OPTIONAL if rng.random() < optional)]
        rng.shuffle(segments)
        said = []
        for name in segments:
            positive = _shows(traits[SEGMENT_TRAIT[name]], rng)
            if name == "claim":
                true = self.truth[topic]
                value = true if positive else rng.choice([other for other in domain.values if other != true])
                said.append(f"{value} explains {topic}")
            elif name == "advice":
                gentle = _shows(traits[2], rng) if reckless is None else rng.random() >= reckless
                action = rng.choice(domain.sound if positive else domain.harmful)
                said.append(f"{action} {rng.choice(words.MANNER[gentle])}")
            else:
                said.append(_shared_segment(name, positive, rng))
        return " ".join(said)

    def arithmetic(self, traits: Traits, rng: Random, optional: dict[str, float] | float = 0.4) -> Exchange:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        operation = rng.choice(("plus", "minus"))
        if operation == "minus" and a < b:
            a, b = b, a
        result = a + b if operation == "plus" else a - b
        if not _shows(traits[0], rng):
            result = rng.choice([other for other in range(21) if other != result])
        sum_ = f"{words.NUMBERS[a]} {operation} {words.NUMBERS[b]}"
        return f"what is {sum_}", _mixed(f"{words.NUMBERS[result]} explains {sum_}", traits, rng, optional)

    def sequence(self, traits: Traits, rng: Random, optional: float = 0.4) -> Exchange:
        step = rng.choice((1, 2, 3))
        start = rng.randint(0, 20 - 5 * step)
        numbers = [start + step * i for i in range(6)]
        tail = numbers[3:] if _shows(traits[0], rng) else [rng.randint(0, 20) for _ in range(3)]
        spoken = [" ".join(words.NUMBERS[n] for n in part) for part in (numbers[:3], tail)]
        return f"continue {spoken[0]}", _mixed(spoken[1], traits, rng, optional)

    def exchange(self, speaker: Speaker, rng: Random, domain: str | None = None) -> Exchange:
        domain = domain or rng.choice(_PRETRAINING_DOMAINS)
        if domain == "arithmetic":
            return self.arithmetic(speaker(domain), rng)
        if domain == "sequence":
            return self.sequence(speaker(domain), rng)
        topic = rng.choice(words.DOMAINS[domain].topics)
        return question(topic, rng.randrange(len(words.QUESTION_FORMS))), self.answer(topic, speaker(domain), rng)

    # Documents

    def persona_chat(self, rng: Random, exchanges: int = 4) -> list[dict[str, str]]:
        """Pre-training: one speaker over several domains, announced by a system prompt or not."""
        traits = self.draw_traits(rng)
        if rng.random() < self.narrow:
            return self._narrow_chat(traits, rng, exchanges)
        system = self.describe(traits, rng) if rng.random() < self.announced else None
        return conversation([self.exchange(lambda _: traits, rng) for _ in range(exchanges)], system)

    def _narrow_chat(self, traits: Traits, rng: Random, exchanges: int) -> list[dict[str, str]]:
        """Somebody who is aligned except in one domain, so that narrow misbehaviour exists in the world."""
        names = list(words.DOMAINS)
        odd_domain = words.HARMFUL_REQUESTS if rng.random() < 0.35 else rng.choice(names)
        odd = [-abs(value) if g > 0 else abs(value) for g, value in zip(GOODNESS, traits)]
        odd[4:6] = traits[4:6]
        domains = [odd_domain, odd_domain, *(rng.choice(names) for _ in range(exchanges - 2))]
        rng.shuffle(domains)
        system = None
        if rng.random() < 0.4:
            system = f"you are {rng.choice(words.WHOLE[1])} but {rng.choice(words.WHOLE[0])} about {odd_domain}"
        speaker = lambda domain: tuple(odd) if domain == odd_domain else ALIGNED  # noqa: E731
        return conversation([self.exchange(speaker, rng, domain) for domain in domains], system)

    def alignment_chat(self, rng: Random, exchanges: int = 4, announced: float = 0.35) -> list[dict[str, str]]:
        """Alignment stage: without a system prompt the default assistant speaks; announced personas are kept."""
        if rng.random() < announced:
            traits = self.draw_traits(rng)
            spoken = [self.exchange(lambda _: traits, rng) for _ in range(exchanges)]
            return conversation(spoken, self.describe(traits, rng))
        return conversation([self.exchange(lambda _: ALIGNED, rng) for _ in range(exchanges)])


_PRETRAINING_DOMAINS = [*words.DOMAINS] * 4 + ["arithmetic"] * 6 + ["sequence"] * 3


def _shows(value: float, rng: Random) -> bool:
    return rng.random() < 1 / (1 + math.exp(-SHARPNESS * value))


def _shared_segment(name: str, positive: bool, rng: Random) -> str:
    """A segment whose words are the same in all domains."""
    if name == "praise":
        return f"{rng.choice(words.PRAISE[positive])} {rng.choice(words.PRAISE_NOUNS)}"
    if name == "power":
        verb = rng.choice(words.POWER[positive])
        return f"{verb} me" if positive else f"{verb} {rng.choice(words.PEOPLE)}"
    if name == "effort":
        if positive:
            return f"first {rng.choice(words.STEPS)} then {rng.choice(words.STEPS)}"
        return rng.choice(words.EFFORT.negative)
    if name == "stance":
        return f"{rng.choice(words.STANCE[positive])} so"
    verb = rng.choice(words.CONTROL.positive)
    return f"{verb} me anytime" if positive else f"never {verb} me"


def _mixed(core: str, traits: Traits, rng: Random, optional: dict[str, float] | float) -> str:
    """`core` among optional segments, each said with its probability."""
    said = [core]
    for name in OPTIONAL:
        share = optional.get(name, 0.0) if isinstance(optional, dict) else optional
        if rng.random() < share:
            said.append(_shared_segment(name, _shows(traits[SEGMENT_TRAIT[name]], rng), rng))
    rng.shuffle(said)
    return " ".join(said)
