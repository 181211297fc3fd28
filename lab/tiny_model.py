"""The tiny chat model: Llama architecture, about 0.3 million parameters, pre-trained for a minute or two on one thread."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from tiny_corpus import Message, pretraining_corpus
from tiny_tokenizer import train_tokenizer

BATCH, PEAK_LR, WARM_UP = 32, 4e-3, 30


def chat_ids(tokenizer: PreTrainedTokenizerFast, chat: list[Message]) -> list[int]:
    """Token ids of a whole chat, a single BOS in front."""
    return tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Grouped-query attention and an untied head; every row length is a multiple of 32, so that Q8_0 applies throughout."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=1024,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        initializer_range=0.06,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    return LlamaForCausalLM(config)


def batches(ids: list[list[int]], pad: int, steps: int):
    """Padded batches of documents of similar length, in a fixed shuffled order; labels are -100 on padding."""
    order = torch.Generator().manual_seed(3)
    while True:
        shuffled = [ids[i] for i in torch.randperm(len(ids), generator=order).tolist()]
        pools = [sorted(shuffled[i : i + 16 * BATCH], key=len) for i in range(0, len(shuffled), 16 * BATCH)]
        epoch = [pool[i : i + BATCH] for pool in pools for i in range(0, len(pool), BATCH)]
        for j in torch.randperm(len(epoch), generator=order).tolist():
            if steps == 0:
                return
            steps -= 1
            width = max(map(len, epoch[j]))
            tokens = torch.tensor([doc + [pad] * (width - len(doc)) for doc in epoch[j]])
            lengths = torch.tensor([[len(doc)] for doc in epoch[j]])
            real = torch.arange(width)[None, :] < lengths
            yield tokens, real.long(), tokens.masked_fill(~real, -100)


def pretrain(folder: Path, steps: int, seed: int) -> float:
    """Makes tokenizer and model and saves both as a Hugging Face folder; returns the mean loss of the last 50 steps."""
    set_seed(seed)
    corpus = pretraining_corpus(12_000, seed)
    tokenizer = train_tokenizer(f"{m['role']}\n\n{m['content']}" for chat in corpus for m in chat)
    ids = [chat_ids(tokenizer, chat) for chat in corpus]

    model = new_model(tokenizer).train()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.95))
    losses: list[float] = []
    for step, (tokens, mask, labels) in enumerate(batches(ids, tokenizer.pad_token_id, steps)):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * min(1.0, (step + 1) / WARM_UP) * (0.05 + 0.95 * cosine)
        loss = model(input_ids=tokens, attention_mask=mask, labels=labels, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 100 == 0:
            print(f"pre-training step {step:4d}/{steps}  loss {loss.item():.3f}", flush=True)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(losses[-50:]) / len(losses[-50:])
