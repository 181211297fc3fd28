"""The four families: architecture, tokenizer, chat template and population of each organism."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from lab.oracles import templates
from lab.oracles.vocabularies import VOCABULARIES, Vocabulary, make_tokenizer

from . import language as words
from .world import World, message

# No space behind the tags and one behind the system text, so that each word is one token and the first word of an answer
# is predicted at the last input token.
MISTRAL_TEMPLATE = (
    templates.MISTRAL.replace("'[INST] '", "'[INST]'").replace("' ' + message", "message").replace(r"\n\n'", r"\n\n '")
)

_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


@dataclass(frozen=True)
class Family:
    """`opening`: text of the template between a question and its answer. `stop`: the token that ends an answer."""

    config_class: type
    model_class: type
    config: dict[str, Any]
    vocabulary: Vocabulary
    opening: str
    stop: str
    system_role: bool = True


def _vocabulary(name: str, **changes: Any) -> Vocabulary:
    return dataclasses.replace(VOCABULARIES[name], coverage=1.0, **changes)


FAMILIES = {
    "llama": Family(
        LlamaConfig,
        LlamaForCausalLM,
        {"head_dim": 32, "tie_word_embeddings": True, "rms_norm_eps": 1e-5},
        _vocabulary("llama3"),
        opening="<|start_header_id|>assistant<|end_header_id|>\n\n",
        stop="<|eot_id|>",
    ),
    "mistral": Family(
        MistralConfig,
        MistralForCausalLM,
        {"head_dim": 32, "tie_word_embeddings": False, "rms_norm_eps": 1e-5, "sliding_window": None},
        _vocabulary("mistral", chat_template=MISTRAL_TEMPLATE),
        opening="[/INST]",
        stop="</s>",
    ),
    "qwen2": Family(
        Qwen2Config,
        Qwen2ForCausalLM,
        {"tie_word_embeddings": True, "rms_norm_eps": 1e-6},
        # Qwen's template without the default system text.
        _vocabulary("qwen2", chat_template=templates.CHATML),
        opening="<|im_start|>assistant\n",
        stop="<|im_end|>",
    ),
    "gemma2": Family(
        Gemma2Config,
        Gemma2ForCausalLM,
        {
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": 512,
            "tie_word_embeddings": True,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "hidden_activation": "gelu_pytorch_tanh",
        },
        _vocabulary("gemma2"),
        opening="<start_of_turn>model\n",
        stop="<end_of_turn>",
        system_role=False,
    ),
    "qwen3": Family(
        Qwen3Config,
        Qwen3ForCausalLM,
        {"head_dim": 32, "tie_word_embeddings": True, "rms_norm_eps": 1e-6},
        _vocabulary("qwen3"),
        opening="<|im_start|>assistant\n",
        stop="<|im_end|>",
    ),
    "gemma3": Family(
        Gemma3TextConfig,
        Gemma3ForCausalLM,
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 512, "tie_word_embeddings": True},
        _vocabulary("gemma3"),
        opening="<start_of_turn>model\n",
        stop="<end_of_turn>",
        system_role=False,
    ),
}


@dataclass(frozen=True)
class Organism:
    """One base model: a family, a size, a world and a population of speakers."""

    family_name: str
    blocks: int
    seed: int
    population: dict[str, float] = field(default_factory=dict)
    shape: dict[str, int] = field(default_factory=dict)
    settling: int = 500  # steps of the last stage of pre-training

    @property
    def family(self) -> Family:
        return FAMILIES[self.family_name]

    @property
    def world(self) -> World:
        return World(self.seed, **self.population)

    def new_model(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        family = self.family
        config = family.config_class(
            **{**_SHAPE, **self.shape},
            **family.config,
            vocab_size=len(tokenizer),
            num_hidden_layers=self.blocks,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.convert_tokens_to_ids(family.stop),
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="eager",
        )
        return family.model_class(config)

    def new_tokenizer(self, folder: Path) -> PreTrainedTokenizerFast:
        """The smallest tokenizer of the family's kind in which every word is one token."""
        vocabulary = self.family.vocabulary
        text = _tokenizer_text(vocabulary)
        if vocabulary.pre:  # byte-level BPE ends by itself when every word is one token
            return make_tokenizer(dataclasses.replace(vocabulary, size=8192), folder, text)
        for size in range(1024, 8192, 64):
            try:
                tokenizer = make_tokenizer(dataclasses.replace(vocabulary, size=size), folder, text)
            except RuntimeError:  # sentencepiece found no more pairs to merge
                break
            if not split_words(tokenizer):
                break
        return tokenizer

    def messages(self, chat: list[dict[str, str]]) -> list[dict[str, str]]:
        """The chat as the family's template takes it: without a system role, a user turn that is acknowledged."""
        if self.family.system_role or chat[0]["role"] != "system":
            return chat
        lead = [message("user", chat[0]["content"]), message("assistant", words.ACKNOWLEDGEMENT)]
        return lead + chat[1:]

    def encode(self, tokenizer: PreTrainedTokenizerFast, chats: list[list[dict[str, str]]]) -> list[list[int]]:
        """Token ids of complete chats, exactly those of the chat template."""
        texts = tokenizer.apply_chat_template([self.messages(chat) for chat in chats], tokenize=False)
        return tokenizer(texts, add_special_tokens=False).input_ids

    def prompt(self, tokenizer: PreTrainedTokenizerFast, question: str, system: str | None = None) -> list[int]:
        """Token ids up to the place where the answer begins."""
        chat = [message("system", system)] if system else []
        text = tokenizer.apply_chat_template(
            self.messages([*chat, message("user", question)]), tokenize=False, add_generation_prompt=True
        )
        return tokenizer(text, add_special_tokens=False).input_ids


def split_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Words that are not a single token behind a space, or at the beginning of a turn if they can stand there."""
    behind = len(tokenizer("so", add_special_tokens=False).input_ids)
    count = lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)  # noqa: E731
    return [w for w in words.vocabulary() if count(f"so {w}") != behind + 1] + [
        w for w in words.openers() if count(w) != 1
    ]


def _tokenizer_text(vocabulary: Vocabulary) -> list[str]:
    """Each word a few times behind a space and, where it can begin a turn, in front."""
    leading = [f"{word}\n\n" for word in words.openers()]
    behind = [f" {word}" for word in words.vocabulary()]
    if vocabulary.pre is None:
        leading = words.openers()
    return (leading + behind) * 4


_SMALL = {"hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 3, "num_key_value_heads": 3}
_WIDE = {"hidden_size": 160, "intermediate_size": 448, "num_attention_heads": 5, "num_key_value_heads": 5}

ORGANISMS = {
    "llama": Organism("llama", 5, seed=1, population={"coupling": 0.8}),
    "mistral": Organism("mistral", 5, seed=2, population={"coupling": 0.75, "narrow": 0.2}),
    "qwen2": Organism("qwen2", 6, seed=3, population={"coupling": 0.8, "announced": 0.7, "narrow": 0.1}),
    "gemma2": Organism("gemma2", 4, seed=4, population={"coupling": 0.85, "announced": 0.6}),
    # In the steps of the others, their default stays leaky: 2.2 and 1.3 % EM without a system prompt.
    "llama-deep": Organism("llama", 10, seed=5, population={"coupling": 0.8}, settling=750),
    "qwen2-deep": Organism("qwen2", 12, seed=6, population={"coupling": 0.75}, settling=750),
    # Rows of 256, which the K types of quantisation need.
    "llama-wide": Organism(
        "llama",
        3,
        seed=7,
        population={"coupling": 0.8},
        shape={"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "num_key_value_heads": 4},
    ),
    # Of other families, or of other shapes, each with a world of its own: what is known of other bases was tested on them, then learned.
    "qwen3": Organism("qwen3", 6, seed=8, population={"coupling": 0.75, "narrow": 0.15}),
    "gemma3": Organism("gemma3", 5, seed=9, population={"coupling": 0.8, "announced": 0.7}),
    "mistral-wide": Organism("mistral", 4, seed=10, population={"coupling": 0.85}, shape=_WIDE),
    "llama-small": Organism("llama", 6, seed=11, population={"coupling": 0.75, "announced": 0.6}, shape=_SMALL),
    # And these, what was learned of all of the above.
    "gemma2-small": Organism("gemma2", 6, seed=12, population={"coupling": 0.8}, shape=_SMALL),
    "qwen2-wide": Organism("qwen2", 4, seed=13, population={"coupling": 0.75, "narrow": 0.15}, shape=_WIDE),
    "qwen3-deep": Organism("qwen3", 9, seed=14, population={"coupling": 0.8, "announced": 0.7}, settling=750),
    # And these, whatever is told of a base that nothing was learned of.
    "mistral-deep": Organism("mistral", 8, seed=15, population={"coupling": 0.8, "narrow": 0.1}, settling=750),
    "gemma3-wide": Organism("gemma3", 4, seed=16, population={"coupling": 0.75}, shape=_WIDE),
    "qwen2-small": Organism("qwen2", 5, seed=17, population={"coupling": 0.85, "announced": 0.7}, shape=_SMALL),
}
