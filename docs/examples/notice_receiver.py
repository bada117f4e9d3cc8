"""A receiver of correction notices in one file: Python's standard library and `cryptography`.

    NOTICE_SECRET=whsec_… NOTICE_PUBLIC_KEY=whpk_… python notice_receiver.py 8080

Verify, correct what you hold, answer with an outcome. Put your own store where `STORE` is, TLS in front, and what
has been handled (`HANDLED`) into a database: the same notice may come again, also after a restart.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NOTICE_TYPE = "kr.dongui.member.corrected.v1"
TOLERANCE_S = 5 * 60
STORE = {}  # member_ref -> {"sequence": …, item: value, …}; here: everything you were ever given about a member
HANDLED = {}  # webhook-id -> the outcome we answered, None while it is to be pulled
TO_PULL = []  # paths of notices whose values are not in them: GET each with your token, correct, then acknowledge it
LOCK = threading.Lock()


def verified(body, headers, *, secret, public_key, now):
    """Say whether the request is from Dongui, unchanged and not an old one played again. Check BEFORE parsing."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12) or abs(now - int(stamp)) > TOLERANCE_S:
        return False
    signed = f"{message_id}.{stamp}.".encode() + body
    for one in headers.get("webhook-signature", "").split(" "):
        version, _, signature = one.partition(",")
        try:
            raw = base64.b64decode(signature, validate=True)
            if version == "v1a" and public_key:
                Ed25519PublicKey.from_public_bytes(_key(public_key, "whpk_")).verify(raw, signed)
                return True
            if version == "v1" and not public_key:
                wanted = hmac.digest(_key(secret, "whsec_"), signed, hashlib.sha256)
                if hmac.compare_digest(wanted, raw):
                    return True
        except (ValueError, InvalidSignature):
            continue
    return False


def _key(text, prefix):
    return base64.b64decode(text.strip().removeprefix(prefix))


def correct(data):
    """Put the new values in place of the old; an older notice that comes late changes nothing."""
    held = STORE.get(data["member_ref"])
    if held is None:
        return "not_held"
    if data.get("withheld"):
        TO_PULL.append(data["pull"])
        return None
    if held["sequence"] < data["sequence"]:
        held.update(data["values"], sequence=data["sequence"])
    return "corrected"


class Receiver(BaseHTTPRequestHandler):
    """One POST per attempt."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        keys = {"secret": os.environ.get("NOTICE_SECRET"), "public_key": os.environ.get("NOTICE_PUBLIC_KEY")}
        if not verified(body, self.headers, now=time.time(), **keys):
            return self._answer(401, {"error": "signature"})
        message = json.loads(body)
        if message["type"] != NOTICE_TYPE:  # a test, or the question whether this URL is ours: give the challenge back
            return self._answer(200, {"challenge": message["data"].get("challenge")})
        with LOCK:
            message_id = self.headers["webhook-id"]
            if message_id not in HANDLED:
                HANDLED[message_id] = correct(message["data"])
            outcome = HANDLED[message_id]
            return self._answer(200, {"outcome": outcome}) if outcome else self._answer(202, {})

    def _answer(self, status, content):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Log nothing: a notice carries personal data."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
