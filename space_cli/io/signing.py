"""Signatures over whole folders, made and checked by the `model-signing` package with a pair of keys, offline.

The package comes with the extra `[sign]` (docs/adr/0010). Its elliptic-curve mode needs no server: a private key signs
the SHA-256 of every file, the public key checks it. The signature is a Sigstore bundle.
"""

import contextlib
import io
import shlex

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from space_cli.core.errors import ArtifactFault, EnvironmentFault, UsageFault
from space_cli.io.storage import storage_faults

CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Of the keys that `model-signing` takes."""
SUFFIX = ".sig"
MAKE_KEYS = (
    "openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout -out key.pub.pem"
)
BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError)
"""What the readers of a bundle raise, by where it is broken."""


def place_beside(folder: Path) -> Path:
    """Return where a folder's signature lies if nothing else is said: beside it, since inside would change it."""
    return folder.with_name(folder.name + SUFFIX)


def write_signature(folder: Path, signature: Path, *, private_key: Path) -> None:
    """Sign every file of a folder, hidden ones among them; the signature is whole or absent.

    Args:
        folder: What to sign; a link in it is refused.
        signature: The file to write, outside of the folder.
        private_key: PEM file with an unencrypted private key on a curve of `CURVES`.

    Raises:
        UsageFault: The key cannot be read, or is of another kind.
        ArtifactFault: The folder holds something that cannot be signed.
        EnvironmentFault: The extra is missing, or the file may not be written.
    """
    signing = _package("signing")
    check_key(private_key, private=True)
    draft = signature.with_name(signature.name + ".tmp")
    config = signing.Config().use_elliptic_key_signer(private_key=private_key).set_hashing_config(_hashing())
    with storage_faults(signature.parent):
        try:
            config.sign(folder, draft)
        except ValueError as failure:
            raise ArtifactFault(
                f"`{folder}` cannot be signed: {_first_line(failure)}",
                hint="put copies of the files in the place of links",
            ) from None
        draft.replace(signature)


def check_signature(folder: Path, signature: Path, *, public_key: Path) -> None:
    """Compare every file of a folder with a signature, and the signature with a key.

    Args:
        folder: What was signed; it may have another name or place by now.
        signature: The file that `write_signature` wrote.
        public_key: PEM file with the public key of whoever is trusted.

    Raises:
        UsageFault: The key cannot be read, or is of another kind.
        ArtifactFault: The signature is missing, broken, of another key, or of other files.
        EnvironmentFault: The extra is missing.
    """
    verifying = _package("verifying")
    check_key(public_key, private=False)
    invalid = _cryptography("exceptions").InvalidSignature
    if not signature.is_file():
        raise ArtifactFault(
            f"there is no signature at `{signature}`",
            hint=shlex.join(("space", "sign", str(folder), "--private-key", "KEY.pem")),
        )
    # What is hashed is said again, not read from the signature: the package forgets there whether hidden files count.
    config = verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(_hashing())
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # the package prints a warning about old bundles
            config.verify(folder, signature)
    except invalid:
        raise ArtifactFault(
            f"`{signature}` was altered, or made with another key than `{public_key}`",
            hint="ask the signer for the signature and for the public key again",
        ) from None
    except BROKEN as failure:
        raise ArtifactFault(
            f"`{signature}` does not hold for `{folder}`: {_first_line(failure)}",
            hint="`space verify` without `--signature` tells which file differs; if none does, ask for a new one",
        ) from None


def check_key(path: Path, *, private: bool) -> None:
    """Refuse a key that cannot be used, before anything is hashed.

    Args:
        path: PEM file.
        private: A private key is needed; else a public one.

    Raises:
        UsageFault: It cannot be read, is encrypted, of the other half, of no elliptic curve or of an unknown one.
        EnvironmentFault: The extra is missing.
    """
    serialization = _cryptography("hazmat.primitives.serialization")
    wanted = f"a {'private' if private else 'public'} key in PEM on one of the curves {', '.join(CURVES)}"
    try:
        content = path.read_bytes()
    except OSError as failure:
        raise UsageFault(f"the key `{path}` cannot be read: {failure.strerror}", hint=MAKE_KEYS) from None
    read: Callable[[], Any] = (
        (lambda: serialization.load_pem_private_key(content, None))
        if private
        else (lambda: serialization.load_pem_public_key(content))
    )
    try:
        curve = getattr(getattr(read(), "curve", None), "name", None)
    except TypeError:
        raise UsageFault(
            f"the key `{path}` is encrypted: {wanted} without a password is needed",
            hint=shlex.join(("openssl", "ec", "-in", str(path), "-out", "plain.pem")),
        ) from None
    except (ValueError, _cryptography("exceptions").UnsupportedAlgorithm):
        raise UsageFault(f"the key `{path}` is of the wrong kind: {wanted} is needed", hint=MAKE_KEYS) from None
    if curve not in CURVES:
        found = f"on the curve {curve}" if curve else "on no elliptic curve"
        raise UsageFault(f"the key `{path}` is of the wrong kind, {found}: {wanted} is needed", hint=MAKE_KEYS)


def _hashing() -> object:
    config: object = _package("hashing").Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    return config


def _package(name: str) -> ModuleType:
    return _imported(f"model_signing.{name}")


def _cryptography(name: str) -> ModuleType:
    return _imported(f"cryptography.{name}")


def _imported(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as failure:
        raise EnvironmentFault(
            f"signatures need the package `model-signing`: {failure}", hint="in a clone of space: pip install '.[sign]'"
        ) from None


def _first_line(failure: Exception) -> str:
    return next(iter(str(failure).splitlines()), type(failure).__name__)[:300]  # a folder has many files
