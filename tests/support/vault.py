"""A server that speaks the part of HashiCorp Vault's HTTP API that the keyring uses, written from its documentation.

Transit with `derived` AEAD keys: versions, min_decryption_version, rewrap, tokens, sealing. It is the outside world;
the ciphers in it are real, so that a value for another context does not open here either.
"""

import base64
import binascii
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TOKEN = "s.test-token"


class RefusedError(Exception):
    """An answer of Vault that is no success: a status and its error texts."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(status)
        self.status = status
        self.errors = list(errors)


@dataclass
class TransitKey:
    """One named key: its versions, newest last, and how far back it still decrypts."""

    derived: bool = True
    kind: str = "aes256-gcm96"
    versions: list[bytes] = field(default_factory=lambda: [os.urandom(32)])
    min_decryption_version: int = 1

    def rotate(self) -> None:
        self.versions.append(os.urandom(32))

    def cipher(self, version: int, context: str) -> AESGCM:
        if not 1 <= version <= len(self.versions):
            raise RefusedError(400, "invalid key version")
        if not self.derived:
            return AESGCM(self.versions[version - 1])
        if not context:
            raise RefusedError(400, "missing 'context' for key derivation")
        info = base64.b64decode(context, validate=True)
        return AESGCM(HKDF(SHA256(), 32, salt=None, info=info).derive(self.versions[version - 1]))

    def encrypt(self, plaintext: str, context: str, version: int) -> str:
        version = version or len(self.versions)
        nonce, plain = os.urandom(12), base64.b64decode(plaintext, validate=True)
        sealed = nonce + self.cipher(version, context).encrypt(nonce, plain, None)
        return f"vault:v{version}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, ciphertext: str, context: str) -> str:
        prefix, _, text = ciphertext.rpartition(":")
        version = int(prefix.removeprefix("vault:v"))
        if version < self.min_decryption_version:
            raise RefusedError(400, "ciphertext or signature version is disallowed by policy (too old)")
        sealed = base64.b64decode(text, validate=True)
        try:
            plain = self.cipher(version, context).decrypt(sealed[:12], sealed[12:], None)
        except InvalidTag:
            raise RefusedError(400, "cipher: message authentication failed") from None
        return base64.b64encode(plain).decode()


@dataclass
class Vault:
    """The server's state; `url` is where it listens. `requests` are the paths asked for, in order."""

    url: str = ""
    keys: dict[str, TransitKey] = field(default_factory=lambda: {"dongui": TransitKey()})
    token: str = TOKEN
    sealed: bool = False
    requests: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        verb, name = request.match_info["verb"], request.match_info["name"]
        self.requests.append(request.path)
        try:
            body = await request.json() if request.method == "POST" else {}
            return web.json_response({"request_id": "1", "data": self._data(request, verb, name, body)})
        except RefusedError as refused:
            return web.json_response({"errors": refused.errors}, status=refused.status)
        except binascii.Error:
            return web.json_response({"errors": ["failed to base64-decode"]}, status=400)

    def _data(self, request: web.Request, verb: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.sealed:
            raise RefusedError(503, "Vault is sealed")
        if request.headers.get("X-Vault-Token") != self.token:
            raise RefusedError(403, "permission denied")
        if name not in self.keys:
            raise RefusedError(404) if verb == "keys" else RefusedError(400, "encryption key not found")
        key, context = self.keys[name], body.get("context", "")
        match request.method, verb:
            case "GET", "keys":
                told = {"latest_version": len(key.versions), "derived": key.derived, "type": key.kind, "name": name}
                return told | {"min_decryption_version": key.min_decryption_version, "supports_encryption": True}
            case "POST", "encrypt":
                return {"ciphertext": key.encrypt(body["plaintext"], context, body.get("key_version", 0))}
            case "POST", "decrypt":
                return {"plaintext": key.decrypt(body["ciphertext"], context)}
            case "POST", "rewrap":
                plain = key.decrypt(body["ciphertext"], context)
                return {"ciphertext": key.encrypt(plain, context, body.get("key_version", 0))}
        raise RefusedError(405, "unsupported operation")


@asynccontextmanager
async def running(vault: Vault, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Vault]:
    """Serve it on loopback until the block ends."""
    app = web.Application()
    app.router.add_route("*", "/v1/transit/{verb}/{name}", vault.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    assert site._server is not None
    bound = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    vault.url = f"{'https' if tls else 'http'}://127.0.0.1:{bound}"
    try:
        yield vault
    finally:
        await runner.cleanup()


def token_file(folder: Path, token: str = TOKEN) -> Path:
    """Write a token as Vault Agent does, for its owner only."""
    path = folder / "vault-token"
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return path
