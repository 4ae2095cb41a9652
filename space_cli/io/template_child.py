"""Renders chat templates on behalf of `io/rendering.py`, in a process of its own that may take little.

A template is a program of whoever made the checkpoint. The sandbox keeps it from files and from the network, but not
from a loop without end or a string that fills the memory. This file is run as a script, so it imports nothing of ours.
"""

import json
import sys

from typing import Any

SECONDS = 5
"""Of a processor, after the imports."""
MEMORY = 2 * 2**30
"""Bytes of address space; the imports take a sixth of it."""
LONGEST = 100_000
"""Characters; a question in its template has some hundred."""


def bound() -> None:
    """Let the system end this process where it takes too much; a system without such limits ends none."""
    try:
        import resource

        spent = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(spent.ru_utime + spent.ru_stime) + SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, OSError, ValueError):
        return


def rendered(template: str, messages: list[Any], tokens: dict[str, Any]) -> dict[str, str]:
    """Return the text of one conversation, or why there is none.

    Raises:
        MemoryError: It is too long.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        made, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **tokens)
    except MemoryError:
        raise
    except Exception as failure:  # whatever a template makes of the messages, from TypeError to ZeroDivisionError
        return {"error": f"{failure}" or type(failure).__name__}
    if len(made[0]) > LONGEST:
        raise MemoryError
    return {"text": str(made[0])}


def main() -> None:
    """Read `{"jobs": [[template, messages], …], "tokens": {…}}`, and write a list with `text` or `error` of each."""
    from transformers.utils import chat_template_utils  # before the limits: only what templates take shall count

    assert chat_template_utils
    asked = json.load(sys.stdin)
    bound()
    json.dump([rendered(template, messages, asked["tokens"]) for template, messages in asked["jobs"]], sys.stdout)


if __name__ == "__main__":
    main()
