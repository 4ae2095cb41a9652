"""Options of a plug-in, from what somebody wrote for them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from space_cli.core.errors import UsageFault


def fitted(schema: type[BaseModel], given: Mapping[str, Any], what: str) -> BaseModel:
    """Return the options that a plug-in is given.

    Args:
        schema: The plug-in's `Options`.
        given: Option -> value.
        what: The plug-in, as an error names it.

    Raises:
        UsageFault: It has no such option, or a value does not fit.
    """
    try:
        return schema.model_validate(dict(given))
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageFault(f"option `{where}` of {what}: {first['msg']}", hint=told(schema)) from None


def told(schema: type[BaseModel]) -> str:
    """Return a hint that names every option."""
    return f"its options are {', '.join(schema.model_fields) or 'none'}"
