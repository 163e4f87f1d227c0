"""What is served under which name: whole weights, and adapters on them."""

import gc
import itertools
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from local.model_server.adapters import Adapters, read_adapter
from local.model_server.batch import Batch
from local.model_server.errors import Refused
from local.model_server.slots import Slots
from local.model_server.worker import Worker
from shared.artifacts.models import ADAPTER, find_base, is_adapter

ADAPTER_CONFIG = "adapter_config.json"
KNOWN_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass
class Base:
    """Weights in memory, and the requests that they answer."""

    model: Any
    adapters: Adapters
    batch: Batch
    context: int
    users: set[str] = field(default_factory=set)
    """Names that are served with it."""


@dataclass(frozen=True)
class Served:
    """One name. `adapter` is 0 for the weights as they are."""

    name: str
    source: Path
    base: Base
    adapter: int
    tokenizer: Any
    defaults: Any
    ends: frozenset[int]
    since: int


class Models:
    """The names, and the bases behind them. Bases are shared by their folder, so an adapter costs little memory."""

    def __init__(self, worker: Worker, *, dtype: torch.dtype, slots: int, context: int) -> None:
        """Prepare: `slots` requests at once on each base, `context` tokens each at most."""
        self._worker, self._dtype, self._slots, self._context = worker, dtype, slots, context
        self._names: dict[str, Served] = {}
        self._bases: dict[Path, Base] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def list(self) -> list[Served]:
        return list(self._names.values())

    def find(self, name: str) -> Served:
        """Raises: Refused: 404; or 503 while nothing is loaded yet, as after a restart."""
        if (served := self._names.get(name)) is not None:
            return served
        if not self._names:
            raise Refused(503, "no model is loaded yet", "model_not_loaded")
        raise Refused(404, f"the model {name!r} does not exist", "model_not_found", "model")

    def load(self, name: str, path: str) -> None:
        """Serve what is in a folder under a name: whole weights, a candidate with an adapter, or its `adapter/` alone.

        Raises:
            Refused: 400 for a name that is taken, 404 where nothing is, 422 for what cannot be served.
        """
        with self._lock:
            if name in self._names:
                raise Refused(400, f"{name!r} has already been loaded", "model_exists", "lora_name")
            folder = _find_candidate(Path(path))
            try:
                self._names[name] = self._open(name, folder)
            except Refused:
                raise
            except Exception as error:  # of whatever reads what is in a folder
                raise Refused(422, f"{path} cannot be served: {type(error).__name__}: {error}") from error
            finally:
                self._drop_unused()

    def unload(self, name: str) -> None:
        """Stop serving a name; what it still answers fails. Raises: Refused: 404."""
        with self._lock:
            served = self._names.pop(name, None)
            if served is None:
                raise Refused(404, f"{name!r} is not loaded", "model_not_found", "lora_name")
            served.base.users.discard(name)
            if served.adapter:
                self._worker.call(lambda: self._take_out(served))
            self._drop_unused()

    def _take_out(self, served: Served) -> None:
        served.base.batch.fail(f"{served.name} was unloaded", lambda each: each.adapter == served.adapter)
        served.base.adapters.remove(served.adapter)

    def _drop_unused(self) -> None:
        for folder, base in [each for each in self._bases.items() if not each[1].users]:
            self._worker.call(partial(base.batch.fail, "the model was unloaded"))
            self._worker.leave(base.batch)
            del self._bases[folder]
        gc.collect()

    def _open(self, name: str, folder: Path) -> Served:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        defaults = _read_defaults(folder)
        base, adapter = self._open_base(find_base(folder)), 0
        if is_adapter(folder):
            base, adapter = self._open_adapter(base, folder)
        base.users.add(name)
        ends = {tokenizer.eos_token_id, *_list_ends(defaults)} - {None}
        return Served(name, folder, base, adapter, tokenizer, defaults, frozenset(ends), int(time.time()))

    def _open_adapter(self, base: Base, folder: Path) -> tuple[Base, int]:
        """Put a plain adapter beside the others; merge any other kind with weights of its own."""
        matrices = read_adapter(folder / ADAPTER, base.model)
        if matrices is None:
            return self._make_base(folder, _merge(find_base(folder), folder / ADAPTER, self._dtype)), 0
        number = next(self._numbers)
        self._worker.call(lambda: base.adapters.insert(number, matrices))
        return base, number

    def _open_base(self, folder: Path) -> Base:
        key = folder.resolve()
        return self._bases.get(key) or self._make_base(key, _load(key, self._dtype))

    def _make_base(self, key: Path, model: Any) -> Base:
        context = _find_context(model.config, self._context)
        adapters = Adapters(model)
        slots = Slots(model.config.num_hidden_layers, self._slots, context)
        base = Base(model, adapters, Batch(model, adapters, slots), context)
        self._bases[key] = base
        self._worker.join(base.batch)
        return base


def _find_candidate(path: Path) -> Path:
    """Return the folder with tokenizer and weights; an `adapter/` alone, as vLLM is given it, lies in one."""
    folder = path.parent if (path / ADAPTER_CONFIG).is_file() and path.name == ADAPTER else path
    if not folder.is_dir() or not find_base(folder).is_dir():
        raise Refused(404, f"no model at {path}", "not_found", "lora_path")
    return folder


def _load(folder: Path, dtype: torch.dtype) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True)
    return _arrange(model.eval().requires_grad_(False))


def _arrange(model: Any) -> Any:
    """Lay each linear layer's weights out by input: a few rows at a time are multiplied in two thirds of the time."""
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = module.weight.data.t().contiguous().t()
    return model


def _merge(base: Path, adapter: Path, dtype: torch.dtype) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(_load(base, dtype), adapter).merge_and_unload().eval()


def _find_context(config: Any, limit: int) -> int:
    """Return how many tokens a request may have: no more than one window, where layers see only that far.

    Raises: ValueError: layers that keep no keys and values.
    """
    if strange := set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYERS:
        raise ValueError(f"layers of the type {', '.join(sorted(strange))} are not served")
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min(limit, int(config.max_position_embeddings), *(int(window) for window in windows if window))


def _read_defaults(folder: Path) -> GenerationConfig:
    if not (folder / "generation_config.json").is_file():
        return GenerationConfig()
    return GenerationConfig.from_pretrained(str(folder), local_files_only=True)


def _list_ends(defaults: GenerationConfig) -> list[int]:
    ends = defaults.eos_token_id
    return ends if isinstance(ends, list) else [ends]
