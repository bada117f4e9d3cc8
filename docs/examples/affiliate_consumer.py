"""A whole affiliate backend in one file: follow our topic, open the records, keep a store that converges.

It uses aiokafka, httpx and joserfc and nothing of Dongui's. Read docs/affiliates.md beside it.

    TOKEN=… python affiliate_consumer.py --bootstrap HOST:PORT --topic dongui.affiliate.tmax-os.v1 \
        --keys-url https://consent.example/v1/keys --token-env TOKEN --store store.sqlite3
"""

import argparse
import asyncio
import json
import os
import sqlite3
import ssl
import sys
import time
from base64 import urlsafe_b64decode
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer
from joserfc import jwe
from joserfc.jwk import OctKey

KEY_SECONDS = 300  # a key may be kept for at most five minutes, so that an erasure takes hold
TABLES = """
CREATE TABLE IF NOT EXISTS position (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS cell (
    member_ref TEXT, name TEXT, seq INTEGER NOT NULL, value TEXT, PRIMARY KEY (member_ref, name)
);
CREATE TABLE IF NOT EXISTS seen (member_ref TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS gap (member_ref TEXT, after INTEGER, upto INTEGER, PRIMARY KEY (member_ref, after));
CREATE TABLE IF NOT EXISTS erased (member_ref TEXT PRIMARY KEY);
"""
# Four cells for each member, each written by the newest record that says something about it.
CELLS = ("member", "processed", "marketing", "status", "suspended")


class Keys:
    """Content keys by kid, fetched with the affiliate's own token, kept for five minutes."""

    def __init__(self, http, url):
        self.http, self.url, self.kept = http, url, {}

    async def get(self, kid):
        """Return the key, or None when it was destroyed: the member is erased and the record says nothing any more."""
        until, key = self.kept.get(kid, (0.0, None))
        if time.monotonic() < until:
            return key
        answer = await self.http.get(f"{self.url}/{kid}")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()  # anything else is a fault of the moment: stop, and start again from the position
        key = OctKey.import_key(answer.json())
        self.kept[kid] = (time.monotonic() + KEY_SECONDS, key)
        return key


def kid_of(value):
    """Read the key id from the protected header of the JWE; nothing is authenticated yet."""
    header = value.split(b".", 1)[0]
    return json.loads(urlsafe_b64decode(header + b"=" * (-len(header) % 4)))["kid"]


async def open_record(keys, headers, value, topic):
    """Return the body of a record, or None when its key is gone. Refuse one that was moved here from elsewhere."""
    if headers["content-type"] == "application/json":
        return json.loads(value)
    key = await keys.get(kid_of(value))
    if key is None:
        return None
    # `topic`, `member` and `seq` are private header names: a JOSE library that checks names must be told.
    registry = jwe.JWERegistry(algorithms=["dir", "A256GCM"], strict_check_header=False)
    opened = jwe.decrypt_compact(value, key, registry=registry)
    told = opened.headers()
    if (told["topic"], told["member"], str(told["seq"])) != (topic, headers["ce_subject"], headers["ce_sequence"]):
        raise ValueError("this record was sealed for another place")
    return json.loads(opened.plaintext)


def cells_of(headers, body):
    """Return what a record says, cell by cell. A projection says everything; a stop only what it takes away."""
    if headers["ce_dataschema"] == "urn:dongui:projection:v1":
        held = body["member"] or body["processed"] or {}
        status = held.get("status")  # of a processor's row only what stands over it: suspended, withdrawal_requested
        told = {name: body[name] for name in ("member", "processed", "marketing")}
        return told | {"status": status, "suspended": body.get("suspended", [])}
    stop, roles = body["stop"], set(body["roles"])
    if stop == "marketing_revoked":
        return {"marketing": body["marketing"]}
    if body.get("suspended"):  # in part: only these items and purposes; P1.5 is marketing
        return {"suspended": body["suspended"]} | ({"marketing": None} if "P1.5" in body["suspended"] else {})
    if stop in {"withdrawal_requested", "suspended"}:
        return {"status": stop}  # values stay until the withdrawal is confirmed; nothing may be sent from now on
    gone = {"member": None, "marketing": None} if "recipient" in roles else {}
    gone |= {"processed": None} if "processor" in roles else {}
    return gone if stop == "sharing_revoked" else gone | {"status": stop}  # withdrawn, erased


def is_new(store, ref, seq, prev):
    """Note the sequence. False for a record seen before. A hole is written down and nothing ever waits for it."""
    row = store.execute("SELECT seq FROM seen WHERE member_ref = ?", (ref,)).fetchone()
    seen = row[0] if row else 0
    if seq > seen:
        store.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (ref, seq))
        holes = [(seen, prev)]
    else:
        where = (ref, seq, seq)
        gap = store.execute(
            "SELECT after, upto FROM gap WHERE member_ref = ? AND after < ? AND upto >= ?", where
        ).fetchone()
        if gap is None:
            return False
        store.execute("DELETE FROM gap WHERE member_ref = ? AND after = ?", (ref, gap[0]))
        holes = [(gap[0], prev), (seq, gap[1])]
    for after, upto in holes:
        if after < upto:
            store.execute("INSERT INTO gap VALUES (?, ?, ?)", (ref, after, upto))
    return True


def apply(store, headers, body):
    """Write a record's cells where they are newer, in the caller's transaction: any order and repetition will do."""
    ref, seq, prev = headers["ce_subject"], int(headers["ce_sequence"]), int(headers["ce_previous"])
    erased = store.execute("SELECT 1 FROM erased WHERE member_ref = ?", (ref,)).fetchone()
    if not is_new(store, ref, seq, prev) or erased or body is None:
        return
    if body.get("stop") == "erased":
        store.execute("DELETE FROM cell WHERE member_ref = ?", (ref,))
        store.execute("INSERT INTO erased VALUES (?)", (ref,))
        return
    for name, value in cells_of(headers, body).items():
        store.execute(
            "INSERT INTO cell VALUES (?, ?, ?, ?) ON CONFLICT (member_ref, name) DO UPDATE "
            "SET seq = excluded.seq, value = excluded.value WHERE excluded.seq > cell.seq",
            (ref, name, seq, json.dumps(value)),
        )


def login(arguments):
    """Return what a closed broker asks for: TLS and a SCRAM login; nothing for an open one on this machine."""
    if arguments.username is None:
        return {}
    return {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": arguments.username,
        "sasl_plain_password": Path(arguments.password_file).read_text(encoding="utf-8").strip(),
        "ssl_context": ssl.create_default_context(cafile=arguments.ca_file),
    }


async def follow(arguments, store, keys):
    """Read from the stored positions until nothing has come for `--idle` seconds."""
    # No consumer group: the positions live in our own store, with the effects.
    where = {"bootstrap_servers": arguments.bootstrap} | login(arguments)
    consumer = AIOKafkaConsumer(arguments.prefix + arguments.topic, enable_auto_commit=False, **where)
    await consumer.start()
    try:
        positions = dict(store.execute("SELECT partition, next_offset FROM position"))
        for partition in consumer.assignment():
            consumer.seek(partition, positions.get(partition.partition, 0))
        while fetched := await consumer.getmany(timeout_ms=int(arguments.idle * 1000)):
            for partition, records in fetched.items():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    body = await open_record(keys, headers, record.value, arguments.topic)
                    with store:  # one transaction: the effects and the position after them
                        apply(store, headers, body)
                        store.execute(
                            "INSERT OR REPLACE INTO position VALUES (?, ?)", (partition.partition, record.offset + 1)
                        )
    finally:
        await consumer.stop()


def state(store):
    """Return every member as the cells make it."""
    members = {}
    for ref, name, value in store.execute("SELECT member_ref, name, value FROM cell"):
        members.setdefault(ref, dict.fromkeys(CELLS))[name] = json.loads(value)
    gaps = [list(row) for row in store.execute("SELECT member_ref, after, upto FROM gap")]
    return {"members": members, "gaps": gaps}


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("bootstrap", "topic", "keys-url"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--token-env", default="TOKEN", help="environment variable that holds the bearer token")
    parser.add_argument("--username", help="your Kafka login; without it the broker is open")
    parser.add_argument("--password-file", help="file with its password")
    parser.add_argument("--ca-file", help="PEM of the authority that signed the broker's certificate")
    parser.add_argument("--store", default=":memory:", help="SQLite file; the default forgets everything at the end")
    parser.add_argument("--prefix", default="", help="what the topic's real name has in front")
    parser.add_argument("--idle", type=float, default=2.0, help="end after this many seconds without a record")
    arguments = parser.parse_args()
    store = sqlite3.connect(arguments.store)
    store.executescript(TABLES)
    headers = {"Authorization": f"Bearer {os.environ[arguments.token_env]}"}
    async with httpx.AsyncClient(headers=headers, timeout=10) as http:
        await follow(arguments, store, Keys(http, arguments.keys_url))
    json.dump(state(store), sys.stdout, ensure_ascii=False)
    store.close()


if __name__ == "__main__":
    asyncio.run(main())
