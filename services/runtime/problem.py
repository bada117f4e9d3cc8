"""The answer that is not a success, free of any web framework: handlers raise it, `problems.py` renders it."""

from typing import Any


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """An answer that is not a success: HTTP status, stable code, detail in both languages, extra members.

    `errors` entries are `{"pointer": JSON Pointer, "code": str}`: the field, never its value.
    """

    def __init__(self, status: int, code: str, detail_ko: str, detail_en: str, **extra: Any) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail_ko = detail_ko
        self.detail_en = detail_en
        self.extra = extra
        self.headers: dict[str, str] = extra.pop("headers", {})
