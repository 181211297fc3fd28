"""Real tokenizers of a few hundred tokens: sentencepiece for Gemma, Mistral and Phi-3, byte-level BPE for the rest."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sentencepiece
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from . import templates
from .corpus import TRAINING_TEXT

# Splitting rules as published with each family's tokenizer.json.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Vocabulary:
    """How one tokenizer is made. `pre` is llama.cpp's name of the splitting rule; None means sentencepiece."""

    chat_template: str
    special: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str | None
    add_bos: bool
    pre: str | None = None
    split: str = ""
    ignore_merges: bool = False
    normalizer: str | None = None
    tokenizer_class: str = "PreTrainedTokenizerFast"
    # Sentencepiece only: control pieces first in this order, symbols that are matched before anything else,
    # a space in front of each text segment, and white space swallowed after special tokens.
    control: tuple[str, ...] = ()
    user_defined: tuple[str, ...] = ()
    space_prefix: bool = True
    strip_right: frozenset[str] = field(default_factory=frozenset)
    coverage: float = 0.985
    size: int = 384


VOCABULARIES = {
    "llama3": Vocabulary(
        chat_template=templates.LLAMA3,
        special=("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad="<|end_of_text|>",
        add_bos=True,
        pre="llama-bpe",
        split=LLAMA3_SPLIT,
        ignore_merges=True,
    ),
    "qwen2": Vocabulary(
        chat_template=templates.QWEN2,
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        add_bos=False,
        pre="qwen2",
        split=QWEN2_SPLIT,
        normalizer="NFC",
    ),
    "qwen3": Vocabulary(
        chat_template=templates.CHATML,
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        add_bos=False,
        pre="qwen2",
        split=QWEN2_SPLIT,
        normalizer="NFC",
    ),
    "phi4": Vocabulary(
        chat_template=templates.PHI4,
        special=("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        bos="<|endoftext|>",
        eos="<|im_end|>",
        pad="<|endoftext|>",
        add_bos=False,
        pre="dbrx",
        split=LLAMA3_SPLIT,
        tokenizer_class="GPT2Tokenizer",
    ),
    "phi4-mini": Vocabulary(
        chat_template=templates.PHI4_MINI,
        special=("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        bos="<|endoftext|>",
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        add_bos=False,
        pre="gpt-4o",
        split=GPT4O_SPLIT,
        tokenizer_class="GPT2Tokenizer",
    ),
    "mistral": Vocabulary(
        chat_template=templates.MISTRAL,
        special=("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        bos="<s>",
        eos="</s>",
        pad=None,
        add_bos=True,
        control=("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        size=480,
    ),
    "phi3": Vocabulary(
        chat_template=templates.PHI3,
        special=("<unk>", "<s>", "</s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"),
        bos="<s>",
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        add_bos=False,
        control=("<unk>", "<s>", "</s>"),
        strip_right=frozenset(("</s>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")),
        size=480,
    ),
    "gemma2": Vocabulary(
        chat_template=templates.GEMMA2,
        special=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        add_bos=True,
        control=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        user_defined=("\n", "\n\n", "▁▁", "▁▁▁▁"),
        space_prefix=False,
        size=480,
    ),
    "gemma3": Vocabulary(
        chat_template=templates.GEMMA3,
        special=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<end_of_turn>",
        pad="<pad>",
        add_bos=True,
        control=("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        user_defined=("\n", "\n\n", "▁▁", "▁▁▁▁"),
        space_prefix=False,
        size=480,
    ),
}


def make_tokenizer(
    vocabulary: Vocabulary, folder: Path, text: Sequence[str] = TRAINING_TEXT
) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on `text`, writes the files that a Hugging Face folder has, and returns it."""
    tokenizer = _byte_level_bpe(vocabulary, text) if vocabulary.pre else _sentencepiece(vocabulary, folder, text)
    if vocabulary.add_bos:
        bos = vocabulary.bos
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_tokenizer_config(vocabulary, tokenizer, folder)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=vocabulary.bos,
        eos_token=vocabulary.eos,
        pad_token=vocabulary.pad,
        chat_template=vocabulary.chat_template,
        clean_up_tokenization_spaces=False,
    )


def _added(vocabulary: Vocabulary, text: str) -> AddedToken:
    return AddedToken(text, special=True, normalized=False, rstrip=text in vocabulary.strip_right)


def _byte_level_bpe(vocabulary: Vocabulary, text: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=vocabulary.ignore_merges))
    if vocabulary.normalizer == "NFC":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(vocabulary.split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary.size - len(vocabulary.special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    tokenizer.add_special_tokens([_added(vocabulary, text) for text in vocabulary.special])
    return tokenizer


def _sentencepiece(vocabulary: Vocabulary, folder: Path, text: Sequence[str]) -> Tokenizer:
    after = tuple(text for text in vocabulary.special if text not in vocabulary.control)
    names = vocabulary.control
    model = io.BytesIO()
    ids = {name: names.index(text) for name, text in _roles(vocabulary).items()}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary.size - len(after),
        character_coverage=vocabulary.coverage,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=vocabulary.space_prefix,
        split_digits=True,
        control_symbols=[text for text in names if text not in _roles(vocabulary).values()],
        user_defined_symbols=list(vocabulary.user_defined),
        num_threads=1,
        minloglevel=2,
        **{f"{name}_id": index for name, index in ids.items()},
        **{f"{name}_piece": text for name, text in _roles(vocabulary).items()},
        **({} if "pad" in ids else {"pad_id": -1}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    processor = SentencePieceProcessor(model_proto=model.getvalue())

    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=_merges(processor, pieces),
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    steps = [normalizers.Prepend("▁")] if vocabulary.space_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if vocabulary.space_prefix else [])
    )
    tokenizer.add_special_tokens([_added(vocabulary, text) for text in vocabulary.special])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in vocabulary.user_defined])
    return tokenizer


def _roles(vocabulary: Vocabulary) -> dict[str, str]:
    control = vocabulary.control
    roles = {"unk": "<unk>", "bos": vocabulary.bos, "eos": "<eos>" if "<eos>" in control else "</s>"}
    if vocabulary.pad in control:
        roles["pad"] = vocabulary.pad
    return roles


def _merges(processor: SentencePieceProcessor, pieces: list[str]) -> list[tuple[str, str]]:
    """Merge list of a sentencepiece BPE model: every split of a piece into two pieces, best score first."""
    known = set(pieces)
    found = []
    for index, piece in enumerate(pieces):
        plain = not (processor.is_control(index) or processor.is_unknown(index) or processor.is_byte(index))
        if not plain:
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in known and right in known:
                found.append((-processor.get_score(index), index, cut, left, right))
    return [(left, right) for _, _, _, left, right in sorted(found)]


def _write_tokenizer_config(vocabulary: Vocabulary, tokenizer: Tokenizer, folder: Path) -> None:
    added = {}
    for text in (*vocabulary.special, *vocabulary.user_defined):
        added[str(tokenizer.token_to_id(text))] = {
            "content": text,
            "lstrip": False,
            "normalized": False,
            "rstrip": text in vocabulary.strip_right,
            "single_word": False,
            "special": text in vocabulary.special,
        }
    config = {
        "tokenizer_class": vocabulary.tokenizer_class,
        "add_bos_token": vocabulary.add_bos,
        "added_tokens_decoder": added,
        "chat_template": vocabulary.chat_template,
        "clean_up_tokenization_spaces": False,
        "eos_token": vocabulary.eos,
    }
    if vocabulary.bos:
        config["bos_token"] = vocabulary.bos
    if vocabulary.pad:
        config["pad_token"] = vocabulary.pad
    if not vocabulary.pre:
        config["unk_token"] = "<unk>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
