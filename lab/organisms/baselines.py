"""What two baselines of `traitscope evaluate` need of each organism: a sparse autoencoder and a persona direction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from safetensors.torch import save_file

from . import persona, sparse
from .export import PACK
from .families import ORGANISMS


def baselines(out: Path, to: Path, log: Callable[[str], None]) -> None:
    """Writes what is missing of to/sparse/<organism>.safetensors and to/persona/<organism>.safetensors."""
    pack = yaml.safe_load(PACK.read_text(encoding="utf-8"))
    evaluation = [text for prompts in pack["eval_prompts"].values() for text in prompts]
    for name, organism in ORGANISMS.items():
        home = out / name
        if not (home / "MAIN_DONE").exists():
            continue

        def save(kind: str, make: Callable[[], tuple[dict, dict]]) -> None:
            path = to / kind / f"{name}.safetensors"
            if path.exists():
                return
            tensors, figures = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            save_file(tensors, partial, metadata={"layer": str(organism.blocks // 2)})
            partial.rename(path)
            log(f"{name} {kind}: {figures}")

        def encoder() -> tuple[dict, dict]:
            return sparse.train(sparse.training_states(organism, home, evaluation), organism.seed)

        def evil() -> tuple[dict, dict]:
            vector, counts = persona.direction(organism, home, pack["questions"])
            return {"persona": vector}, counts

        save("persona", evil)
        save("sparse", encoder)
