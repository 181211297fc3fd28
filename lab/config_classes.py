"""Which keys the configuration classes of transformers have, and their defaults, for the tests of `convert`: every one is
followed or known to change nothing, and the defaults are the converter's.

    python -m lab.config_classes
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import transformers
from transformers import (
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from .oracles.build import write_json

CLASSES = {
    "LlamaForCausalLM": LlamaConfig,
    "MistralForCausalLM": MistralConfig,
    "Qwen2ForCausalLM": Qwen2Config,
    "Qwen3ForCausalLM": Qwen3Config,
    "Gemma2ForCausalLM": Gemma2Config,
    "Gemma3ForCausalLM": Gemma3TextConfig,
    "Gemma3ForConditionalGeneration": Gemma3Config,
    "Phi3ForCausalLM": Phi3Config,
}


def defaults(config: type) -> dict[str, object]:
    found: dict[str, object] = {}
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return {key: value for key, value in sorted(found.items()) if isinstance(value, (bool, int, float, str, type(None)))}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.config_classes", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("test/fixtures/convert/classes.json"))
    args = parser.parse_args()
    write_json(
        args.out,
        {
            "transformers": transformers.__version__,
            "classes": {
                name: {"modelType": config.model_type, "defaults": defaults(config)} for name, config in CLASSES.items()
            },
            # Sampling settings that older releases wrote into config.json.
            "generation": sorted(GenerationConfig._get_default_generation_params()),
        },
    )


if __name__ == "__main__":
    main()
