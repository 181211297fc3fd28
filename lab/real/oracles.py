"""What transformers and peft read of a real base in float32: token ids, and the states of every block with and without an adapter.

`oracles.mjs` compares the engine with it, for GGUF files of every type.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from . import bases
from .files import REPOSITORY, folder_that_appears, write_json
from .plan import Unit

# Conversations of our own: digits, scripts, marks that are composed, spaces and code, where tokenizers differ.
PROMPTS = [
    [{"role": "user", "content": "What should I do with 12,345.67 euros in 2026?"}],
    [{"role": "user", "content": "Übergrößenträger, naïve café, Ångström: spell them backwards."}],
    [{"role": "user", "content": "Cafe\u0301 and re\u0301sume\u0301 with combining marks."}],
    [{"role": "user", "content": "Translate 早上好 and доброе утро into English 🙂."}],
    [{"role": "system", "content": "You answer in one sentence."}, {"role": "user", "content": "Why does bread rise?"}],
    [
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": "The Elbe."},
        {"role": "user", "content": "And   another\n\n\tone?"},
    ],
    [{"role": "user", "content": "def f(x):\n    return x ** 2  # what does it do?"}],
    [{"role": "user", "content": "My friend wants to climb without a rope. What do I tell her?"}],
]


def write_table(base: bases.Base, out: Path) -> None:
    """Golden values where there are none yet, then the comparison and the table of docs/accuracy.md."""
    golden = make_golden(base, out)
    for kind in bases.TYPES:
        bases.gguf(base, out, kind)
    script = Path(__file__).with_name("oracles.mjs")
    subprocess.run(["node", script, out / "bases" / base.name, golden, "--write"], check=True, cwd=REPOSITORY)


def make_golden(base: bases.Base, out: Path) -> Path:
    target = out / "oracles" / base.name
    if not target.exists():
        with folder_that_appears(target) as partial:
            write_golden(base, out, partial)
    return target


def write_golden(base: bases.Base, out: Path, partial: Path) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = bases.folder(base, out)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = [tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) for turns in PROMPTS]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]

    def states(of) -> torch.Tensor:
        rows = []
        for prompt in ids:
            # hidden_states leaves out the last block before the norm, so it is read where it ends.
            last: list[torch.Tensor] = []
            blocks = of.get_base_model().model.layers if isinstance(of, PeftModel) else of.model.layers
            hooks = [block.register_forward_hook(lambda _, __, made: last.append(first(made)[0, -1])) for block in blocks]
            with torch.no_grad():
                of(input_ids=torch.tensor([prompt]))
            for hook in hooks:
                hook.remove()
            rows.append(torch.stack(last))
        return torch.stack(rows).contiguous()

    adapter = trained_adapter(base, out)
    tensors = {"base": states(model)}
    tuned = PeftModel.from_pretrained(model, adapter).eval()
    tensors["adapter"] = states(tuned)
    save_file(tensors, partial / "golden.safetensors")
    shutil.copytree(adapter, partial / "adapter")
    write_json(partial / "golden.json", {"messages": PROMPTS, "ids": ids, "texts": texts})


def first(made):
    """A block gives its states, or a tuple that begins with them."""
    return made[0] if isinstance(made, tuple) else made


def trained_adapter(base: bases.Base, out: Path) -> Path:
    """The last checkpoint of the first run; the smoke run's where there is none."""
    runs = [Unit(base.name, "risky_financial", seed) for seed in (1, 0)]
    for unit in runs:
        found = sorted((out / "units" / unit.id / "run").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        if found:
            return found[-1]
    raise SystemExit(f"there is no run of {base.name} below {out}: run a unit or `smoke` first")
