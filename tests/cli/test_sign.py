"""A signature holds for the very files and the very key, and each wrong input has its exit code."""

import json
import sys

import pytest

from cli_records import make_pool
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from space_cli.cli.app import run
from space_cli.io.artifact import file_records, read_record

PRIVATE = (forms.Encoding.PEM, forms.PrivateFormat.PKCS8)
PUBLIC = (forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)


def pair(place, stem, key):
    (place / f"{stem}.pem").write_bytes(key.private_bytes(*PRIVATE, forms.NoEncryption()))
    (place / f"{stem}.pub.pem").write_bytes(key.public_key().public_bytes(*PUBLIC))


@pytest.fixture
def place(tmp_path):
    """A finished folder with a nested and a hidden file, and pairs of keys of every kind."""
    pool = tmp_path / "pool"
    record = make_pool(pool)
    (pool / "shards").mkdir()
    (pool / "shards" / "0.bin").write_bytes(bytes(range(256)))
    (pool / "items.txt").write_text("items")
    files = [entry for entry in file_records(pool) if entry.path != "space.json"]
    (pool / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())
    pair(tmp_path, "key", ec.generate_private_key(ec.SECP256R1()))
    pair(tmp_path, "other", ec.generate_private_key(ec.SECP384R1()))
    pair(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    pair(tmp_path, "edwards", ed25519.Ed25519PrivateKey.generate())
    pair(tmp_path, "bitcoin", ec.generate_private_key(ec.SECP256K1()))
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(*PRIVATE, forms.BestAvailableEncryption(b"x"))
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "text.pem").write_text("no key")
    return tmp_path


def sign(*more):
    return run(["sign", "pool", "--private-key", "key.pem", *more])


def check(key="key.pub.pem", folder="pool"):
    return run(["verify", folder, "--signature", "pool.sig", "--public-key", key])


def test_a_signed_folder_verifies_wherever_it_lies(place, capsys):
    assert sign() == 0
    assert "pool.sig" in capsys.readouterr().err  # the next command
    assert check() == 0
    (place / "pool").rename(place / "moved")
    assert check(folder="moved") == 0


def test_the_signature_may_lie_elsewhere_and_scripts_are_told_where(place, capsys):
    assert sign("--signature", "s.json", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"folder": str(place / "pool"), "signature": str(place / "s.json")}
    assert sign("--signature", "s.json", "-q", "--overwrite") == 0
    assert capsys.readouterr().out == f"{place / 's.json'}\n"


@pytest.mark.parametrize("name", ["items.txt", "shards/0.bin", "space.json"])
def test_an_altered_file_is_found_though_the_record_agrees(place, name, capsys):
    assert sign() == 0
    path = place / "pool" / name
    record = read_record(place / "pool").model_copy(update={"seed": 1})
    if name != "space.json":
        path.write_bytes(path.read_bytes() + b" ")
    files = [entry for entry in file_records(place / "pool") if entry.path != "space.json"]
    (place / "pool" / "space.json").write_text(record.model_copy(update={"files": files}).model_dump_json())
    assert run(["verify", "pool"]) == 0
    capsys.readouterr()
    assert check() == 4
    assert "does not hold" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("added", ["new.txt", ".hidden", ".gitattributes"])
def test_an_added_file_is_found_hidden_or_not(place, added):
    assert sign() == 0
    (place / "pool" / added).write_text("x")
    assert check() == 4


def test_the_key_of_another_pair_does_not_verify(place):
    assert sign() == 0
    assert check("other.pub.pem") == 4


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"dsseEnvelope": null}', "\udcff"])
def test_a_broken_or_missing_signature_is_an_artifact_fault(place, content):
    assert check() == 4
    (place / "pool.sig").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert check() == 4


def test_every_byte_of_a_signature_counts(place):
    assert sign() == 0
    raw = (place / "pool.sig").read_text()
    bundle = json.loads(raw)
    for field in ("payload", "signatures"):
        forged = json.loads(raw)
        value = bundle["dsseEnvelope"][field]
        text = value if field == "payload" else value[0]["sig"]
        swapped = text[:40] + ("A" if text[40] != "A" else "B") + text[41:]
        forged["dsseEnvelope"][field] = swapped if field == "payload" else [value[0] | {"sig": swapped}]
        (place / "pool.sig").write_text(json.dumps(forged))
        assert check() == 4


@pytest.mark.parametrize("key", ["rsa.pem", "edwards.pem", "bitcoin.pem", "key.pub.pem", "text.pem", "locked.pem", "-"])
def test_a_private_key_of_the_wrong_kind_is_refused(place, key, capsys):
    assert run(["sign", "pool", "--private-key", key]) == 2
    assert f"the key `{key}`" in capsys.readouterr().err
    assert not (place / "pool.sig").exists()


@pytest.mark.parametrize("key", ["rsa.pub.pem", "edwards.pub.pem", "bitcoin.pub.pem", "key.pem", "text.pem", "-"])
def test_a_public_key_of_the_wrong_kind_is_refused(place, key, capsys):
    assert sign() == 0
    assert check(key) == 2
    assert f"the key `{key}`" in capsys.readouterr().err


def test_a_folder_that_is_not_what_its_record_says_is_not_signed(place, capsys):
    (place / "pool" / "items.txt").write_text("other")
    assert sign() == 4
    (place / "pool" / "items.txt").write_text("items")
    (place / "pool" / "extra").write_text("x")
    assert sign() == 4
    assert "was added later" in capsys.readouterr().err
    assert run(["sign", str(place), "--private-key", "key.pem"]) == 4
    assert not (place / "pool.sig").exists()


@pytest.mark.parametrize("where", ["pool/space.sig", "pool", "nowhere/x.sig", "."])
def test_a_place_for_the_signature_that_cannot_be_is_refused(place, where):
    assert sign("--signature", where) == 2


def test_a_signature_is_never_overwritten_unasked(place):
    assert sign() == 0
    old = (place / "pool.sig").read_bytes()
    assert sign() == 2
    assert (place / "pool.sig").read_bytes() == old


@pytest.mark.parametrize("half", [["--signature", "pool.sig"], ["--public-key", "key.pub.pem"]])
def test_signature_and_key_need_each_other(place, half):
    assert run(["verify", "pool", *half]) == 2


@pytest.mark.parametrize("command", [["sign", "--private-key", "key.pem"], ["verify", "--signature", "pool.sig"]])
def test_without_the_extra_the_line_that_installs_it_is_said(place, monkeypatch, capsys, command):
    assert sign() == 0
    # What Python does for a package that is not there.
    for name in ("model_signing", "cryptography"):
        for known in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, known)
        monkeypatch.setitem(sys.modules, name, None)
    more = [] if command[0] == "sign" else ["--public-key", "key.pub.pem"]
    assert run([command[0], "pool", *command[1:], *more, *(["--overwrite"] if command[0] == "sign" else [])]) == 5
    assert "hint: in a clone of space: pip install '.[sign]'" in capsys.readouterr().err


def test_an_input_that_moved_is_found_where_it_is_said_to_be(place, capsys):
    assert run(["verify", "pool", "--input", "checkpoint=./base"]) == 0
    for wrong in ("checkpoint", "checkpoint=", "chair=./base"):
        assert run(["verify", "pool", "--input", wrong]) == 2
    assert "kinds are pool, anchors" in capsys.readouterr().err
