"""What the consent service refuses, in both languages: one function per answer that several handlers give."""

from services.runtime.problem import Problem


def field(status: int, code: str, pointer: str, ko: str, en: str) -> Problem:
    """The refusal of one field of the body, by its JSON Pointer."""
    return Problem(status, code, ko, en, errors=[{"pointer": pointer, "code": code}])


def forbidden() -> Problem:
    """The refusal of a caller whose role does not allow the request."""
    return Problem(403, "forbidden", "이 요청을 할 권한이 없습니다.", "Your role does not allow this request.")


def account_unconfirmed() -> Problem:
    """The refusal of a step that takes two persons to one who may be the same person under another name."""
    return Problem(
        403,
        "account_unconfirmed",
        "두 사람이 필요한 일입니다. 계정을 만들었거나 비밀번호를 다시 준 사람이 아닌 담당자가 콘솔의 '접근 권한'에서"
        " 먼저 계정을 확인해야 합니다.",
        "This takes two persons. Another officer than the one who made your account or its password must first confirm"
        " it on the console's page of access rights.",
    )


def not_found() -> Problem:
    """The answer for a reference that names nobody, and for one the caller may not see."""
    return Problem(404, "member_not_found", "회원을 찾을 수 없습니다.", "There is no such member.")


def email_taken() -> Problem:
    """The refusal of an e-mail that another member has."""
    return field(
        409,
        "email_taken",
        "/email",
        "이미 가입된 아이디(이메일)입니다. 다른 이메일을 사용해 주세요.",
        "This e-mail has a member already. Use another one.",
    )


def check_version(if_match: str | None, seq: int) -> None:
    """Raise 428 without If-Match, 412 when it does not name the present version."""
    if not if_match:
        raise Problem(
            428,
            "if_match_required",
            "If-Match 헤더에 회원의 현재 ETag를 넣어 주세요.",
            "Send the member's current ETag in If-Match.",
        )
    tags = {tag.strip() for tag in if_match.split(",")}
    if "*" not in tags and etag_of(seq) not in tags:
        raise Problem(
            412,
            "version_mismatch",
            "그 사이 회원 정보가 바뀌었습니다. 다시 조회한 뒤 시도해 주세요.",
            "The member has changed since. Read it again and retry.",
        )


def etag_of(seq: int) -> str:
    """Return the strong entity tag of a member's version."""
    return f'"{seq}"'
