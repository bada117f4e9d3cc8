"""docs/examples/verify_proof.py: one file, Python alone. Against RFC 8032, against our own files, against changes."""

import ast
import hashlib
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.audit import certificate, checkpoint, cosignature
from tests.unit.audit.test_certificate import KEY, SEED, WITNESS, proof

FILE = Path(__file__).resolve().parents[3] / "docs/examples/verify_proof.py"
spec = spec_from_file_location("verify_proof", FILE)
assert spec is not None
assert spec.loader is not None
single = module_from_spec(spec)
spec.loader.exec_module(single)

# RFC 8032 section 7.1: public key, message, signature of TEST 1, 2, 3 and of SHA(abc).
ABC = hashlib.sha512(b"abc").hexdigest()
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
            "655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
            "b00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
            "c027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        ABC,
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
            "d9bef1177331a704"
        ),
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_published_signatures_hold_and_no_changed_one_does(key: str, message: str, signature: str) -> None:
    public, text, signed = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert single.ed25519_verify(public, text, signed)
    assert not single.ed25519_verify(public, text + b"x", signed)
    for at in (0, 31, 32, 63):
        changed = bytearray(signed)
        changed[at] ^= 1
        assert not single.ed25519_verify(public, text, bytes(changed))
    # s + L is the same number: a second spelling of the signature, which RFC 8032 5.1.7 refuses.
    s = int.from_bytes(signed[32:], "little") + single.L
    assert not single.ed25519_verify(public, text, signed[:32] + s.to_bytes(32, "little"))


def test_it_agrees_with_another_implementation() -> None:
    for n in range(12):
        private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(bytes([n])).digest())
        message = bytes(range(n * 7))
        assert single.ed25519_verify(private.public_key().public_bytes_raw(), message, private.sign(message))


def test_it_imports_nothing_but_pythons_own() -> None:
    tree = ast.parse(FILE.read_text())
    names = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {str(n.module).split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


@pytest.mark.parametrize("form", ["tlog-proof", "html"])
def test_it_verifies_our_proofs_and_certificates_with_the_witness(form: str, tmp_path: Path) -> None:
    text = proof()
    (tmp_path / "proof").write_text(text if form == "tlog-proof" else certificate.page(text))
    (tmp_path / "witness").write_text(WITNESS.vkey() + "\n")
    command = [sys.executable, "-I", "-S", str(FILE), str(tmp_path / "proof"), KEY.vkey(), str(tmp_path / "witness")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b'"change_id"' in done.stdout
    assert b"entry 5 of 12" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("index 5", "index 4"),
        lambda t: t.replace("\n12\n", "\n13\n"),
        lambda t: t.replace("extra ey", "extra fy"),
        lambda t: t.split("\n\n")[0],
        lambda t: t.replace("— witness", "— witless"),
        lambda t: t + t.splitlines()[-1] + "\n",
        lambda _: "nothing",
    ],
)
def test_it_refuses_what_was_changed(change, tmp_path: Path) -> None:
    (tmp_path / "proof").write_text(change(proof()))
    assert single.main([str(tmp_path / "proof"), KEY.vkey(), WITNESS.vkey()]) == 3


def test_it_refuses_other_keys_and_tells_how_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "proof").write_text(proof())
    other = checkpoint.verifier_of("dongui.kr/audit", bytes(32)).vkey()
    nobody = cosignature.cosigner_of("nobody.example/w", bytes(32)).vkey()
    log = checkpoint.verifier_of("dongui.kr/audit", SEED).vkey()
    assert single.main([str(tmp_path / "proof"), other]) == 3
    assert single.main([str(tmp_path / "proof"), log, nobody]) == 3
    assert single.main([str(tmp_path / "proof"), nobody]) == 3
    assert single.main([str(tmp_path / "absent"), log]) == 3
    assert single.main([]) == 2
    assert "WITNESS_KEY" in capsys.readouterr().err
