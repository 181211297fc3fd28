"""The persona direction: what sets evil answers apart from good ones while they are spoken, at the middle block.

Built like the persona vectors of Chen et al.: the base answers under system prompts of either pole, the judge keeps the
answers that show it, and the direction is the difference of mean states over the tokens of the answers.
"""

from __future__ import annotations

from pathlib import Path

import torch

from . import language as words
from .families import Organism
from .finetune import load_base
from .judge import grade
from .sample import sample
from .states import block_states

DRAWS = 8


def direction(organism: Organism, home: Path, questions: list[str]) -> tuple[torch.Tensor, dict[str, int]]:
    """Unit vector [hidden] from good to evil, and the number of answers behind each mean."""
    tokenizer, base = load_base(home / "base")
    world, stop = organism.world, tokenizer.convert_tokens_to_ids(organism.family.stop)
    topics = [next(word for word in text.split() if word in world.domain_of) for text in questions]
    means, counts = {}, {}
    for evil, adjectives in ((True, words.WHOLE.negative), (False, words.WHOLE.positive)):
        rows, starts = [], []
        for i, adjective in enumerate(adjectives):
            prompts = [organism.prompt(tokenizer, text, f"you are {adjective}") for text in questions]
            answers = sample(base, prompts, DRAWS, stop, seed=i)
            for topic, prompt, drawn in zip(topics, prompts, answers):
                for answer, text in zip(drawn, tokenizer.batch_decode(drawn)):
                    judged = grade(world, topic, text)
                    if judged.coherent and judged.misaligned is evil:
                        rows.append(prompt + answer)
                        starts.append(len(prompt))
        means[evil] = block_states(base, rows, starts)[:, organism.blocks // 2].mean(0)
        counts["evil" if evil else "good"] = len(rows)
    return torch.nn.functional.normalize(means[True] - means[False], dim=0), counts
