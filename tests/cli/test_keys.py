"""`mpbond keygen` and `mpbond pubkey`."""

from __future__ import annotations

import base64
import stat

from mpbond.config import keys


def test_keygen_prints_a_fresh_key(mpbond):
    one, other = mpbond("keygen").output, mpbond("keygen").output
    assert len(base64.b64decode(one)) == 32
    assert one != other


def test_pubkey_of_keygen(mpbond):
    private = mpbond("keygen").output
    expected = keys.encode(keys.public_key_of(base64.b64decode(private)))
    assert mpbond("pubkey", input=private).output == expected + "\n"


def test_pubkey_agrees_with_the_published_vector(mpbond):
    """RFC 7748, section 6.1: Alice's pair."""
    private = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
    public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    result = mpbond("pubkey", input=keys.encode(bytes.fromhex(private)))
    assert base64.b64decode(result.output).hex() == public


def test_a_key_file_is_private_and_holds_what_pubkey_reads(mpbond, tmp_path):
    path = tmp_path / "client.key"
    made = mpbond("keygen", "-o", path)
    assert made.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    public = mpbond("pubkey", path).output.strip()
    assert made.output == f"Wrote {path}.\nIts public key: {public}\n"
    assert path.read_text().strip() not in made.output


def test_a_key_file_is_replaced_only_by_force(mpbond, tmp_path):
    path = tmp_path / "client.key"
    mpbond("keygen", "-o", path)
    before = path.read_text()
    refused = mpbond("keygen", "-o", path)
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"mpbond: {path} exists already; keep it, or replace it by --force.\n",
    )
    assert path.read_text() == before
    assert mpbond("keygen", "--force", "-o", path).exit_code == 0
    assert path.read_text() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["client.key"]


def test_a_place_that_cannot_be_written(mpbond, tmp_path):
    path = tmp_path / "none" / "client.key"
    result = mpbond("keygen", "-o", path)
    assert (result.exit_code, result.stderr) == (
        1,
        f"mpbond: {path} cannot be written (No such file or directory); "
        "run as root or name another place.\n",
    )


def test_a_preshared_key_has_no_public_one(mpbond, tmp_path):
    path = tmp_path / "psk.key"
    assert mpbond("keygen", "--psk", "-o", path).output == f"Wrote {path}.\n"
    assert len(base64.b64decode(mpbond("keygen", "--psk").output)) == 32


def test_pubkey_refuses_a_file_open_to_others(mpbond, tmp_path):
    path = tmp_path / "client.key"
    mpbond("keygen", "-o", path)
    path.chmod(0o644)
    assert mpbond("pubkey", path).stderr == (
        f"mpbond: {path} is open to group or others (mode 0644); run chmod 600 {path}.\n"
    )


def test_pubkey_of_rubbish(mpbond):
    result = mpbond("pubkey", input=b"\xff\xfe rubbish")
    assert (result.exit_code, result.stderr) == (
        1,
        "mpbond: the key is not base64; use a key made by mpbond keygen.\n",
    )
    assert mpbond("pubkey", input="AAAA").stderr == (
        "mpbond: the key holds 3 bytes instead of 32; use a key made by mpbond keygen.\n"
    )
