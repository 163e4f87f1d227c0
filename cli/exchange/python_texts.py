"""Values that a tool wrote down as Python shows them, where JSON was meant."""

import ast
import warnings
from typing import Any

FAULTS = (SyntaxError, ValueError, RecursionError, MemoryError)


def parse_python(text: str) -> Any:
    """Parse plain values and objects such as `Name(field=value)`, which come as dictionaries of their fields.

    Nothing is run.

    Raises: ValueError: it holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _derive(ast.parse(text.strip(), mode="eval").body)
    except FAULTS as error:
        raise ValueError(f"no plain Python value: {error}") from None


def _derive(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_derive(one) for one in items]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {str(_derive(key)): _derive(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.Call(func=ast.Name(), args=[], keywords=fields):
            return {str(one.arg): _derive(one.value) for one in fields}
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
    raise ValueError(f"{type(node).__name__} stands in it")
