"""What a rights request is refused for, in both languages; each code is stable. Names of items, never values."""

from collections.abc import Iterable

from services.consent.refusals import field
from services.runtime.problem import Problem


def unknown_request() -> Problem:
    """The answer for an id that names no request, and for one the caller may not see."""
    return Problem(404, "rights_request_not_found", "권리 행사 요구를 찾을 수 없습니다.", "There is no such request.")


def duplicate(open_id: str | None) -> Problem:
    """The refusal of a second open request of one type; it names the open one to those who may see it."""
    named = {"open_id": open_id} if open_id else {}
    return Problem(
        409,
        "duplicate_request",
        "같은 종류의 요구가 이미 처리 중입니다.",
        "A request of this type is open already.",
        **named,
    )


def wrong_state(state: str) -> Problem:
    """The refusal of a step that does not follow from the request's state."""
    return Problem(
        409,
        "wrong_state",
        f"현재 상태({state})에서는 할 수 없는 처리입니다.",
        f"This cannot be done in the present state ({state}).",
        state=state,
    )


def identity_not_verified() -> Problem:
    """The refusal of any effect before 5.6 is met."""
    return Problem(
        409,
        "identity_not_verified",
        "본인 또는 대리인 확인을 먼저 해야 합니다(5.6). 확인하지 못하면 not_verified 사유로 거절해 주세요.",
        "Verify the identity first (5.6). If that cannot be done, refuse with the ground not_verified.",
    )


def agent_check_required() -> Problem:
    """The refusal of a check of one person where there are two."""
    return field(
        422,
        "agent_check_required",
        "/agent_method",
        "대리인 신청은 본인과 대리인을 모두 확인해야 합니다.",
        "With an agent both persons must be verified.",
    )


def mandate_required(documents: list[str]) -> Problem:
    """The refusal of an agent without the document that makes one (5.3)."""
    names = ", ".join(documents)
    return field(
        422,
        "mandate_required",
        "/agent/document",
        f"대리인은 위임장 등 대리권을 증명하는 서류가 필요합니다(5.3): {names}",
        f"An agent needs a document that proves the mandate (5.3): {names}",
    )


def scope_excludes_type() -> Problem:
    """The refusal of an agent who was mandated for something else."""
    return field(
        422,
        "scope_excludes_type",
        "/agent/scope",
        "위임 범위에 이 요구가 들어 있지 않습니다.",
        "The mandate is not for this kind of request.",
    )


def received_in_future() -> Problem:
    """The refusal of a request from tomorrow."""
    return field(
        422,
        "received_in_future",
        "/received_at",
        "접수 시각은 현재보다 늦을 수 없습니다.",
        "A request cannot be received in the future.",
    )


def ended_in_future() -> Problem:
    """The refusal of a reason that has not ended yet."""
    return field(
        422,
        "ended_in_future",
        "/reason_ended_at",
        "연기 사유의 소멸 시각은 현재보다 늦을 수 없습니다.",
        "The reason of a deferral cannot end in the future.",
    )


def received_before_policy() -> Problem:
    """The refusal of a request from before the policy."""
    return field(
        422,
        "received_before_policy",
        "/received_at",
        "접수 시각이 처리방침 시행일(2021-02-22)보다 이릅니다.",
        "The request is older than the policy (2021-02-22).",
    )


def channel_not_yours() -> Problem:
    """The refusal of a member who says to have sent a fax."""
    return field(
        422,
        "channel_not_yours",
        "/channel",
        "회원이 직접 접수하는 요구의 채널은 web입니다.",
        "A request that a member makes here arrives by web.",
    )


def field_not_for_type(pointer: str) -> Problem:
    """The refusal of a field that this type of request does not have."""
    return field(
        422,
        "field_not_for_type",
        pointer,
        f"이 종류의 요구에는 쓸 수 없는 항목입니다: {pointer}",
        f"This type of request has no such field: {pointer}",
    )


def changes_required() -> Problem:
    """The refusal of a correction that does not say what is right."""
    return field(
        422,
        "changes_required",
        "/changes",
        "정정할 내용(changes)이 필요합니다.",
        "A correction says what is right, in `changes`.",
    )


def already_suspended() -> Problem:
    """The refusal of a second suspension."""
    return Problem(409, "already_suspended", "이미 처리정지 상태입니다.", "Processing is suspended already.")


def suspended_before_guardian() -> Problem:
    """The refusal to correct a birth date to a child's while the whole processing is suspended."""
    return Problem(
        409,
        "release_first",
        "처리정지 중에는 만 14세 미만의 생년월일로 정정할 수 없습니다. 먼저 처리정지를 해제해 주세요.",
        "While all is suspended no birth date of one under 14 can be put in. Release the suspension first.",
    )


def nothing_to_release() -> Problem:
    """The refusal to lift what does not stand."""
    return Problem(
        409,
        "nothing_to_release",
        "이 요구로 정지된 처리가 없습니다.",
        "No suspension stands by this request.",
    )


def deferral_not_offered() -> Problem:
    """The refusal to put off anything but an access (trap 10, 35(3))."""
    return Problem(
        422,
        "deferral_not_offered",
        "열람 요구만 연기할 수 있습니다(개인정보 보호법 35조 3항).",
        "Only an access can be put off (PIPA 35(3)).",
    )


def already_deferred() -> Problem:
    """The refusal to put an access off a second time: its reason has ended (35(3), second sentence)."""
    return Problem(
        409,
        "already_deferred",
        "이미 한 번 연기한 요구입니다. 연기 사유가 소멸했으므로 지체 없이 열람하게 하거나 사유를 들어 거절해 주세요.",
        "It was put off once and the reason has ended. Give the access without delay, or refuse it on a ground.",
    )


def ended_before_deferral() -> Problem:
    """The refusal of a reason that ended before it began."""
    return field(
        422,
        "ended_before_deferral",
        "/reason_ended_at",
        "연기 사유의 소멸 시각이 연기 시각보다 이릅니다.",
        "The reason cannot end before the deferral.",
    )


def ground_required(offered: Iterable[str]) -> Problem:
    """The refusal of a refusal without a ground."""
    return _choice("ground_required", "/ground", offered, "거절 사유가 필요합니다.", "A refusal needs a ground.")


def ground_not_offered(offered: Iterable[str]) -> Problem:
    """The refusal of a ground the law does not give a company for this type."""
    ko, en = "이 요구를 거절할 수 있는 사유가 아닙니다.", "This is no ground to refuse this type of request."
    return _choice("ground_not_offered", "/ground", offered, ko, en)


def ground_contradicted() -> Problem:
    """The refusal of a ground that the facts contradict."""
    return field(
        422,
        "ground_contradicted",
        "/ground",
        "사실과 맞지 않는 사유입니다. 탈퇴(해지)를 요청한 회원이거나 이미 본인을 확인한 요구입니다.",
        "The facts contradict this ground: the person has asked to leave, or the identity is established.",
    )


def ground_not_expected() -> Problem:
    """The refusal of a ground for a full grant."""
    return field(
        422,
        "ground_not_expected",
        "/ground",
        "전부 수용하는 결정에는 사유와 근거 법령이 없습니다.",
        "A full grant has no ground and no statute.",
    )


def statute_required(known: Iterable[str]) -> Problem:
    """The refusal of 5.5 without the law it speaks of."""
    ko, en = "그 항목을 수집 대상으로 명시한 법령이 필요합니다.", "Name the statute that requires the data."
    return _choice("statute_required", "/statute", known, ko, en)


def statute_does_not_name(items: list[str]) -> Problem:
    """The refusal to keep items that the statute does not name."""
    names = ", ".join(items)
    return field(
        422,
        "statute_does_not_name_item",
        "/statute",
        f"이 법령이 수집 대상으로 명시하지 않은 항목입니다: {names}",
        f"The statute does not name these items: {names}",
    )


def unknown_code(code: str, pointer: str, known: Iterable[str]) -> Problem:
    """The refusal of a code that is not in the catalogue."""
    return _choice(code, pointer, known, "알 수 없는 코드입니다.", "An unknown code.")


def part_not_offered() -> Problem:
    """The refusal of half a correction or half a suspension."""
    return field(
        422,
        "partial_not_offered",
        "/outcome",
        "이 종류의 요구는 일부만 수용할 수 없습니다.",
        "This type of request cannot be granted in part.",
    )


def items_only_in_part() -> Problem:
    """The refusal of items in a decision that is about all of them."""
    return field(
        422,
        "items_not_expected",
        "/items",
        "items는 일부 수용(partial)에만 씁니다.",
        "`items` belongs to a partial decision.",
    )


def not_a_part(asked: Iterable[str]) -> Problem:
    """The refusal of a part that is nothing, all, or something else."""
    ko, en = "수용할 항목은 요구한 항목의 일부여야 합니다.", "Name some, not all, of the items asked for."
    return _choice("items_not_a_part", "/items", asked, ko, en)


def whole_account_has_no_part() -> Problem:
    """The refusal to delete half an account; what laws name goes to the vault by itself (2.1)."""
    return field(
        422,
        "whole_account_has_no_part",
        "/outcome",
        "계정 전체의 삭제는 탈퇴로 처리합니다. 법령상 보관할 기록은 따로 옮겨지므로 granted로 결정해 주세요.",
        "An account is deleted by withdrawal, and records kept by law move to the vault: decide `granted`.",
    )


def not_deletable(items: list[str]) -> Problem:
    """The refusal to clear an item without which its service, or the account, cannot be."""
    names = ", ".join(items)
    return Problem(
        409,
        "item_required",
        f"필수 항목은 따로 지울 수 없습니다: {names}. 서비스나 계정 전체의 삭제로 요구하거나 일부만 수용해 주세요.",
        f"Required items cannot be cleared alone: {names}. Delete the service or the account, or grant a part.",
        items=items,
    )


def destroyed() -> Problem:
    """The answer when the member's key is shredded: nothing sealed can be read any more, by anyone."""
    return Problem(410, "destroyed", "파기된 회원의 자료입니다.", "The member's data has been destroyed.")


def not_decided() -> Problem:
    """The answer while there is no answer."""
    return Problem(409, "not_decided", "아직 결정되지 않은 요구입니다.", "The request is not decided yet.")


def _choice(code: str, pointer: str, known: Iterable[str], ko: str, en: str) -> Problem:
    names = list(known)
    listed = ", ".join(names) or "-"
    errors = [{"pointer": pointer, "code": code, "known": names}]
    return Problem(422, code, f"{ko} 가능한 값: {listed}", f"{en} Choose from: {listed}", errors=errors)
