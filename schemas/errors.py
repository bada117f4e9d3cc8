"""Why a record was refused, as a closed list of codes; what was refused is never in the error."""

from typing import Literal

Code = Literal[
    "bad_json",
    "unknown_type",
    "unknown_schema",
    "bad_headers",
    "null_value",
    "unknown_field",
    "invalid_field",
    "bad_jwe",
    "wrong_key",
    "header_mismatch",
    "too_large",
]


class CodecError(Exception):
    """A record that this version of the contract refuses. The message is the code, nothing else.

    bad_headers: a CloudEvents header is absent, doubled, unknown or ill-formed.
    unknown_type, unknown_schema: not of this version. null_value: a tombstone.
    bad_json, unknown_field, invalid_field: the body. bad_jwe: not a compact JWE of our form.
    wrong_key: the key or the sealed bytes are not the ones sealed. too_large: over 1 MiB.
    header_mismatch: envelope, protected header and body tell different stories.
    """

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code: Code = code
