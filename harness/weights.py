"""placeholder until merge"""

from pathlib import Path
import hashlib
from typing import Any, Mapping
import torch
from safetensors.torch import save_file, load_file


class DamagedWeights(Exception): ...


def save_state(path: Path, state: Mapping[str, torch.Tensor]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_state(path: Path, sha256: str) -> Any:
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DamagedWeights("altered")
    return load_file(path)
