"""The forward pass of a whole model on a device that need not hold it: its layers go there in turn.

For the reference's log-probabilities before FSDP2 divides the model: until then it is whole, and on the host.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

Place = Callable[[Tensor], Tensor]
"""Copies a tensor to the device, or returns it if it is there."""


@contextmanager
def stream_layers(model: Any, place: Place) -> Iterator[None]:
    """Have the model compute where `place` puts its tensors, with one layer there at a time, embedding and head always.

    The tensors themselves stay where they are: what was copied is dropped, and nothing is copied back.
    """
    layers = _find_layers(model)
    inside = {id(tensor) for layer in layers for tensor in _list_tensors(layer)}
    outside = [tensor for tensor in _list_tensors(model) if id(tensor) not in inside]
    with ExitStack() as closing:
        closing.enter_context(_placed(outside, place))
        for layer in layers:
            _stream(layer, place, closing)
        yield


def _find_layers(model: Any) -> list[nn.Module]:
    """Find the modules that the model's own code says are never divided: its layers."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def _list_tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _stream(layer: nn.Module, place: Place, closing: ExitStack) -> None:
    """Place the layer whenever it goes forward, and only then, until `closing` closes."""
    visit = ExitStack()

    def arrive(*_: Any) -> None:
        visit.enter_context(_placed(_list_tensors(layer), place))

    def leave(*_: Any) -> None:
        visit.close()

    compiled, layer._compiled_call_impl = layer._compiled_call_impl, None  # its code knows no hooks
    closing.callback(setattr, layer, "_compiled_call_impl", compiled)
    closing.callback(visit.close)
    closing.callback(layer.register_forward_pre_hook(arrive).remove)
    closing.callback(layer.register_forward_hook(leave).remove)


@contextmanager
def _placed(tensors: Sequence[Tensor], place: Place) -> Iterator[None]:
    own = [(tensor, tensor.data) for tensor in tensors]
    for tensor in tensors:
        tensor.data = place(tensor.data)
    try:
        yield
    finally:
        for tensor, data in own:
            tensor.data = data
