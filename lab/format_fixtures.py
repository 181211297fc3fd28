"""Fixtures for the readers in lib/formats and the LoRA mapping in lib/model.

    python lab/format_fixtures.py --gguf-py LLAMA_CPP/gguf-py [--out test/fixtures/formats]

Writes, all from fixed seeds (a few seconds, about 25 KB):

  mixed.safetensors   one tensor of many dtypes, written by the safetensors library
  mixed.json          the values of its floating-point tensors as float32 hex bits
  adapter/            a PEFT adapter with rsLoRA, rank_pattern and alpha_pattern on a toy Llama-shaped module tree
  adapter.json        per module: rank, scale and Frobenius norm of the weight change as PEFT computes them
  patterns.json       keys x module paths -> does Python's re match as in peft.utils.other.get_pattern_key
  values.gguf         every metadata type and several tensor types, written by llama.cpp's gguf-py
  permute.json        q/k row permutation of a converted Llama, computed with numpy as reshape and swap
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)

KEYS = [
    "q_proj",
    "layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.q_proj",
    "layers.1",
    "proj",
    ".*q_proj",
    "q_proj|v_proj",
    "(q|k|v)_proj",
    r"layers\.\d+\.mlp\..*",
    r"layers\.[02]\.self_attn\.(q|v)_proj",
    r"layers\.(?:1|2)\..+_proj",
    r"layers\.[^1]\.mlp\.up_proj",
    r".*\.1\..*",
    r"l\w{4}s\.1\d?\.mlp\.up_proj",
    r"(?P<block>layers\.0)\.mlp\.down_proj",
    r"(?!.*mlp).*_proj",
    r"[qk]_proj$",
    r"^model\..*up_proj",
    r".*(?<!up)_proj",
    r"layers\.1{1,2}\.mlp\.gate_proj",
    r"layers\.1{,2}\.mlp\.gate_proj",
    r"x{}y",
    r"[]q]_proj",
    r"[\w]_proj",
    r"\bq_proj\b",
    r"layers\.\d+?\.mlp\.(?=up)up_proj",
    "lm_head",
    "",
]


def module_paths():
    paths = ["lm_head"]
    for layer in (0, 1, 2, 10, 11):
        for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"):
            paths.append(f"model.layers.{layer}.{name}")
    return paths


def write_patterns(out):
    paths = module_paths()
    table = [{"key": key, "matches": [p for p in paths if re.match(rf"(.*\.)?({key})$", p)]} for key in KEYS]
    dump(out / "patterns.json", {"paths": paths, "table": table})


def write_mixed(out):
    generator = torch.Generator().manual_seed(7)
    special = torch.tensor([0.0, -0.0, 1.0, -2.5, 6.1e-5, 5.96e-8, 65504.0, float("inf"), float("-inf")])
    wide = torch.randn(3, 5, generator=generator)
    tensors = {
        "f32": wide,
        "f16": torch.cat([special, wide.flatten()]).to(torch.float16),
        "bf16": torch.cat([special, wide.flatten()]).to(torch.bfloat16),
        "f64": wide.to(torch.float64) * 1.1,
        "i64": torch.arange(4),
        "i32": torch.arange(3, dtype=torch.int32),
        "i16": torch.arange(3, dtype=torch.int16),
        "u8": torch.arange(5, dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 4),
        "quoted \"name\" \u00e9\u4e2d": torch.ones(2),
    }
    save_file(tensors, out / "mixed.safetensors", metadata={"format": "pt"})
    bits = {
        name: [f"{b:08x}" for b in t.to(torch.float32).flatten().numpy().view(np.uint32).tolist()]
        for name, t in tensors.items()
        if t.is_floating_point()
    }
    dump(out / "mixed.json", bits)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(16, 24, bias=False)
        self.v_proj = nn.Linear(16, 8, bias=False)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj = nn.Linear(16, 20, bias=False)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = Attention()
        self.mlp = Mlp()


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Trunk()


def write_adapter(out):
    torch.manual_seed(11)
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        use_rslora=True,
        target_modules=["q_proj", "v_proj", "up_proj"],
        rank_pattern={r"layers\.1\.self_attn\.q_proj": 3, "up_proj": 2},
        alpha_pattern={"v_proj": 5, r"model\.layers\.[0]\..*": 7},
    )
    model = get_peft_model(Toy(), config)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            nn.init.normal_(module.lora_B["default"].weight)
    folder = out / "adapter"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    tidy_config(folder / "adapter_config.json")
    write_expected(out, folder)


def tidy_config(path):
    """target_modules is a set, whose order changes from run to run."""
    config = json.loads(path.read_text())
    config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write_expected(out, folder):
    """What PEFT computes after loading the folder.

    Not what the model that was saved computes: saving sorts the patterns' keys, and the first match wins, so
    overlapping patterns can mean another scale after a reload.
    """
    model = PeftModel.from_pretrained(Toy(), folder)
    expected = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            expected[name.removeprefix("base_model.model.")] = {
                "r": module.r["default"],
                "scale": module.scaling["default"],
                "deltaNorm": module.get_delta_weight("default").detach().double().norm().item(),
            }
    dump(out / "adapter.json", expected)


def write_gguf(out, gguf):
    writer = gguf.GGUFWriter(out / "values.gguf", "llama")
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_float32("t.f32", 0.5)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "h\u00e9llo")
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -(2**40))
    writer.add_float64("t.f64", 1 / 3)
    writer.add_array("t.strings", ["a", "", "\u4e2d\u6587", "<|eot|>"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.25, -0.5])
    writer.add_array("t.bools", [True, False])
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((3, 256)).astype(np.float32)
    writer.add_tensor("odd.weight", rng.standard_normal((5,)).astype(np.float32))
    for kind in ("F32", "F16", "BF16", "Q8_0", "Q4_0"):
        quantised = gguf.quants.quantize(weight, gguf.GGMLQuantizationType[kind])
        writer.add_tensor(f"{kind.lower()}.weight", quantised, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_permute(out):
    cases = []
    for heads, rows in ((2, 8), (4, 24), (1, 6), (8, 16)):
        order = np.arange(rows)
        moved = order.reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(rows)
        cases.append({"heads": heads, "rows": rows, "order": moved.tolist()})
    dump(out / "permute.json", cases)


def dump(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf-py", required=True, help="folder gguf-py of a llama.cpp v0.5.0 source tree")
    parser.add_argument("--out", default="test/fixtures/formats", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, args.gguf_py)
    import gguf

    args.out.mkdir(parents=True, exist_ok=True)
    write_patterns(args.out)
    write_mixed(args.out)
    write_adapter(args.out)
    write_gguf(args.out, gguf)
    write_permute(args.out)
    for path in args.out.rglob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
