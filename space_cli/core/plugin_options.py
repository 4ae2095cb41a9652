"""Options of a plug-in, from what somebody wrote for them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from space_cli.core.errors import UsageFault
from space_cli.core.offering import nearest


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
        why = _meant(where, schema) if first["type"] == "extra_forbidden" else first["msg"]
        raise UsageFault(f"option `{where}` of {what}: {why}", hint=told(schema)) from None


def _meant(word: str, schema: type[BaseModel]) -> str:
    near = nearest(word, schema.model_fields)
    return f"there is none; did you mean `{near}`?" if near else "there is none"


def told(schema: type[BaseModel]) -> str:
    """Return a hint that names every option."""
    return f"its options are {', '.join(schema.model_fields) or 'none'}"
