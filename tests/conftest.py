"""Puts this folder on the import path, so that tests share `fakes.py`, and checks shapes as tests run."""

import os

from jaxtyping import install_import_hook

SHAPED = ("hardening", "linalg", "losses", "moments", "probing", "selection")
# Before anything imports the package; production never pays for it.
install_import_hook([f"space_cli.core.{name}" for name in SHAPED], "beartype.beartype")

if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core already: more threads would wait for each other. Commands that a test starts inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
