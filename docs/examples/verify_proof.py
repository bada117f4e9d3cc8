"""Verify a proof of the Dongui audit log with nothing but Python 3.9 or newer: no package, no network, one file.

    python verify_proof.py FILE KEY [WITNESS_KEY ...]

FILE is a `.tlog-proof` (C2SP tlog-proof@v1) or a certificate page (`.html`) with one inside. KEY is the log's public
key as published (`name+hash+base64`), or a file that holds it; get it another way than FILE. Every WITNESS_KEY given
must have cosigned. Exit status 0: the entry is in the log; it is printed, and is what counts, whatever a page says
around it. 3: it is not, or cannot be proved. 2: usage.
"""

import base64
import hashlib
import html
import re
import struct
import sys
from pathlib import Path

# Ed25519 verification (RFC 8032 section 5.1), on extended coordinates. Slow and simple: nothing here is secret.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)  # noqa: E741 - the square root of -1


def recover_x(y, sign):
    """Return the x of a point with this y, or None when there is none."""
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * I % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


def decode_point(data):
    """Return the point of 32 bytes, or None."""
    value = int.from_bytes(data, "little")
    y, sign = value & (2**255 - 1), value >> 255
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    """Return the sum of two points."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    """Return scalar times point."""
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


BASE = (recover_x(4 * pow(5, P - 2, P) % P, 0), 4 * pow(5, P - 2, P) % P)
BASE = (BASE[0], BASE[1], 1, BASE[0] * BASE[1] % P)


def ed25519_verify(key, message, signature):
    """Return whether a signature of 64 bytes holds under a key of 32 bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = decode_point(key), decode_point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(h, a))
    same_x = (left[0] * right[2] - right[0] * left[2]) % P == 0
    return same_x and (left[1] * right[2] - right[1] * left[2]) % P == 0


# The Merkle tree (RFC 9162 section 2.1).
def root_of(leaf, index, size, path):
    """Return the root that an inclusion path leads to, or None when the path does not fit."""
    if not 0 <= index < size:
        return None
    node, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0 or len(sibling) != 32:
            return None
        if node & 1 or node == last:
            value = hashlib.sha256(b"\x01" + sibling + value).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = hashlib.sha256(b"\x01" + value + sibling).digest()
        node, last = node >> 1, last >> 1
    return value if last == 0 else None


# Signed notes, checkpoints and cosignatures (C2SP).
def b64(text):
    """Decode standard base64; raise ValueError."""
    return base64.b64decode(text, validate=True)


def read_key(text, kind):
    """Return (name, key id, public key) of a published key of this kind; raise ValueError."""
    name, hashed, encoded = text.strip().split("+", 2)
    key = b64(encoded)
    key_id = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if key[:1] != kind or len(key) != 33 or key_id.hex() != hashed:
        raise ValueError("this is not a published key of that kind")
    return name, key_id, key[1:]


def is_signed(text, lines, key, timed):
    """Return whether exactly one line of this key is there and holds."""
    name, key_id, public = key
    found = []
    for line in lines:
        marker, signer, encoded = line.split(" ")
        signature = b64(encoded)
        if marker == "\u2014" and signer == name and signature[:4] == key_id:
            found.append(signature[4:])
    if len(found) != 1:
        return False
    message, signature = text.encode(), found[0]
    if timed:
        if len(signature) != 72:
            return False
        (seconds,) = struct.unpack(">Q", signature[:8])
        message, signature = f"cosignature/v1\ntime {seconds}\n".encode() + message, signature[8:]
    return ed25519_verify(public, message, signature)


def verify(proof, log_key, witness_keys=()):
    """Return (index, size, entry) of a proof that holds; raise ValueError saying what does not."""
    head, separator, note = proof.partition("\n\n")
    lines = head.split("\n")
    if not separator or len(lines) < 3 or lines[0] != "c2sp.org/tlog-proof@v1":
        raise ValueError("this is not a tlog-proof")
    index_line = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[2])
    if not lines[1].startswith("extra ") or index_line is None:
        raise ValueError("the proof does not hold its entry")
    entry, index = b64(lines[1][6:]), int(index_line[1])
    text, separator, signatures = note.rpartition("\n\n")
    text += "\n"
    signed = signatures.split("\n")
    if not separator or signed.pop() != "":
        raise ValueError("the checkpoint is not a signed note")
    parts = text.split("\n")
    if len(parts) != 4 or parts[0] != log_key[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", parts[1]):
        raise ValueError("the checkpoint is of another log")
    if not is_signed(text, signed, log_key, timed=False):
        raise ValueError("the log's signature does not hold")
    for witness in witness_keys:
        if not is_signed(text, signed, witness, timed=True):
            raise ValueError(f"the witness {witness[0]} has not cosigned")
    leaf = hashlib.sha256(b"\x00" + entry).digest()
    if root_of(leaf, index, int(parts[1]), [b64(line) for line in lines[3:]]) != b64(parts[2]):
        raise ValueError("the entry is not in the log")
    return index, int(parts[1]), entry


def text_of(path):
    """Return the proof in a file: all of it, or what a certificate page holds."""
    text = Path(path).read_text(encoding="utf-8")
    found = re.search(r'<pre id="proof">(.*?)</pre>', text, re.DOTALL)
    return html.unescape(found[1]) if found else text


def key_text(given):
    """Return a key that is given itself or in a file."""
    return Path(given).read_text(encoding="utf-8") if Path(given).is_file() else given


def main(arguments):
    """Return the exit status."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        log_key = read_key(key_text(arguments[1]), b"\x01")
        witnesses = [read_key(key_text(given), b"\x04") for given in arguments[2:]]
        index, size, entry = verify(text_of(arguments[0]), log_key, witnesses)
    except (OSError, ValueError) as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
        return 3
    print(f"verified: entry {index} of {size} in {log_key[0]}", file=sys.stderr)
    print(entry.decode(errors="replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
