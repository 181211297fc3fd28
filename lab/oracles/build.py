"""Makes one oracle folder: GGUF, adapters, prompts, token ids, goldens and model.json, which is written last."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from . import golden, sensitivity
from .adapters import make_adapter, save_adapter
from .convert import convert
from .corpus import ALL_TOKEN_PROMPTS, CHAT_PROMPTS, CHATS, PLAIN_PROMPTS, TOKEN_TEXTS
from .models import Oracle, build_model
from .verify import verify_gguf
from .vocabularies import VOCABULARIES, Vocabulary, make_tokenizer


def build_oracle(oracle: Oracle, llama_cpp: Path, out: Path) -> None:
    """Replaces out/<name>. A run that stops half-way leaves no model.json, so the next run starts this model again."""
    folder = out / oracle.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vocabulary = VOCABULARIES[oracle.vocabulary]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / oracle.name
        tokenizer = make_tokenizer(vocabulary, source)
        ids = {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
        model = build_model(oracle, len(tokenizer), ids)
        model.save_pretrained(source)
        gguf = folder / "model.gguf"
        convert(llama_cpp, source, gguf, oracle.general_name, oracle.file_type, vocabulary.pre)
        metadata = verify_gguf(llama_cpp, gguf, oracle, vocabulary, model)

    prompts = _prompts(tokenizer)
    write_json(folder / "prompts.json", {"prompts": prompts, "allTokens": list(ALL_TOKEN_PROMPTS)})
    write_json(folder / "tokens.json", _tokens(vocabulary, tokenizer))
    all_ids = [prompt["ids"] for prompt in prompts]
    base = _save_golden(folder / "golden-base.safetensors", oracle, model, prompts)
    changes = sensitivity.measure(oracle, model, all_ids, base)
    for variant in oracle.variants:
        peft_model = make_adapter(oracle, copy.deepcopy(model), variant)
        save_adapter(peft_model, oracle, folder / f"adapter-{variant}")
        states = _save_golden(folder / f"golden-{variant}.safetensors", oracle, peft_model, prompts)
        changes |= sensitivity.measure_adapter(oracle, variant, peft_model, all_ids, states, base)

    write_json(
        folder / "model.json",
        {
            "name": oracle.name,
            "architecture": oracle.architecture,
            "huggingFaceClass": oracle.model_class.__name__,
            "variants": list(oracle.variants),
            "fileType": oracle.file_type,
            "blocks": model.config.num_hidden_layers,
            "embedding": model.config.hidden_size,
            "stateNorms": [round(float(value), 3) for value in base.norm(dim=-1).mean(dim=0)],
            "notes": list(oracle.notes),
            "sensitivity": changes,
            "metadata": metadata,
        },
    )


def write_json(path: Path, value: Any) -> None:
    """UTF-8, two spaces, lists of numbers on one line so that a diff stays readable."""
    path.write_text(_json(value, "") + "\n", encoding="utf-8")


def _json(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {_json(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, list, str)) for item in value):
        return "[\n" + ",\n".join(inner + _json(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _chat(tokenizer: PreTrainedTokenizerFast, messages: list[dict], prompt: bool) -> tuple[list[dict], str, list[int]]:
    """Renders a conversation; templates without a system role get the system text in front of the user's."""
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False)
    except TemplateError:
        first, second, *rest = messages
        messages = [{"role": "user", "content": f"{first['content']}\n\n{second['content']}"}, *rest]
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False)
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=True, return_dict=True)
    return messages, text, ids["input_ids"]


def _prompts(tokenizer: PreTrainedTokenizerFast) -> list[dict]:
    found = []
    for name, text in PLAIN_PROMPTS:
        ids = tokenizer(text).input_ids
        found.append({"name": name, "text": text, "ids": ids[:1] if name == "one-token" else ids})
    chats = {name: (messages, prompt) for name, messages, prompt in CHATS}
    for name in CHAT_PROMPTS:
        messages, text, ids = _chat(tokenizer, *chats[name])
        found.append({"name": name, "text": text, "ids": ids})
    return found


def _tokens(vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerFast) -> dict:
    plain = []
    special = [f"a{text} b" for text in vocabulary.special if text not in ("<unk>", "<pad>")]
    for text in (*TOKEN_TEXTS, *special):
        entry = {"text": text, "ids": tokenizer(text, add_special_tokens=False).input_ids}
        entry["idsWithSpecial"] = tokenizer(text).input_ids
        if vocabulary.normalizer:
            normalized = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
            if normalized != text:
                entry["normalized"] = normalized
        plain.append(entry)
    chats = []
    for name, messages, prompt in CHATS:
        rendered, text, ids = _chat(tokenizer, messages, prompt)
        chats.append({"name": name, "messages": rendered, "addGenerationPrompt": prompt, "text": text, "ids": ids})
    return {
        "vocabSize": len(tokenizer),
        "addBos": vocabulary.add_bos,
        "normalizer": vocabulary.normalizer,
        "plain": plain,
        "chat": chats,
    }


def _save_golden(path: Path, oracle: Oracle, model: torch.nn.Module, prompts: list[dict]) -> torch.Tensor:
    all_ids = [prompt["ids"] for prompt in prompts]
    last = golden.last_states(model, all_ids)
    if not torch.isfinite(last).all():
        raise SystemExit(f"{path.parent.name}: states are not finite")
    tensors = {"last": last}
    for prompt in prompts:
        if prompt["name"] in ALL_TOKEN_PROMPTS:
            tensors[f"tokens.{prompt['name']}"] = golden.block_outputs(model, prompt["ids"])
    if oracle.architecture.startswith("gemma"):
        rounded = copy.deepcopy(model)
        golden.use_table_gelu(rounded)
        tensors["last.gelu16"] = golden.last_states(rounded, all_ids)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    path.chmod(0o644)
    return last
