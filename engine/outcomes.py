"""Every answer an act can have, in the contract's order of precedence (CONTRACT.md section 1).

Numbers are frozen: scripts reply with them, facts and books keep them. The order of the list is
the order in which a script judges. One sentence a code, in English and Chinese, serves the API,
the documents and the screen of a till. ``python -m engine.outcomes`` prints docs/OUTCOMES.md.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple


class Outcome(IntEnum):
    """What an act answered. 0 and 1 are successes, all else are refusals."""

    DONE = 0
    REPEATED = 1
    # may come before anything
    RATE_LIMITED = 2
    OVERLOADED = 3
    RECOVERING = 4
    # who asks, and is the request whole
    UNAUTHENTICATED = 10
    FORBIDDEN = 11
    INVALID_REQUEST = 12
    IDEMPOTENCY_KEY_REQUIRED = 13
    BODY_TOO_LARGE = 14
    UNSUPPORTED_MEDIA_TYPE = 15
    NOT_FOUND = 16
    IDEMPOTENCY_KEY_REUSED = 17
    # claim, grant, order
    CAMPAIGN_FROZEN = 20
    CAMPAIGN_PAUSED = 21
    CAMPAIGN_ENDED = 22
    NOT_STARTED = 23
    USER_FROZEN = 24
    NOT_ELIGIBLE = 25
    CHANNEL_NOT_ALLOWED = 26
    USER_LIMIT = 27
    USER_DAY_LIMIT = 28
    USER_WEEK_LIMIT = 29
    USER_MONTH_LIMIT = 30
    CAMPAIGN_RATE_LIMIT = 31
    CAMPAIGN_DAY_LIMIT = 32
    BUDGET_EXHAUSTED = 33
    SOLD_OUT = 34
    # redeem, quote, verify (what also stands above keeps its number there)
    CODE_INVALID = 40
    CODE_EXPIRED = 41
    DIFFERENT_OWNERS = 44
    ALREADY_REDEEMED = 45
    HELD = 46
    CODE_USED = 47
    VOIDED = 48
    REFUNDED = 49
    TRANSFERRED = 50
    EXPIRED = 51
    NOT_YET_VALID = 52
    STORE_NOT_ALLOWED = 53
    OUTSIDE_HOURS = 55
    NO_ELIGIBLE_ITEMS = 56
    MIN_QUANTITY = 57
    MIN_SPEND = 58
    STACKING_CONFLICT = 59
    GROUP_LIMIT = 60
    CAMPAIGN_LIMIT = 61
    TOO_MANY_COUPONS = 62
    STORE_LIMIT = 63
    POINTS_INSUFFICIENT = 65
    BALANCE_INSUFFICIENT = 66
    NO_EFFECT = 67
    # hold, reversal
    HOLD_EXPIRED = 70
    HOLD_RELEASED = 71
    ALREADY_REVERSED = 72
    NOTHING_TO_REVERSE = 73
    MORE_THAN_REDEEMED = 74
    # order, gift
    ORDER_EXPIRED = 80
    ORDER_CANCELLED = 81
    AMOUNT_MISMATCH = 82
    NOT_REFUNDABLE = 83
    GIFT_TAKEN = 84
    GIFT_EXPIRED = 85
    NOT_TRANSFERABLE = 86
    # elsewhere
    ALREADY_EXISTS = 90
    PERIOD_OPEN = 91
    PERIOD_OVERLAPS = 92
    REVISION_CHANGED = 93
    PLATE_TAKEN = 94
    PLATE_CONFLICT = 95
    RECEIPT_USED = 96
    STAY_CLOSED = 97
    WRONG_STATUS = 98  # of a statement or an adjustment
    # check-in
    WRONG_EVENT = 110
    NOT_PAID = 111
    ALREADY_IN = 112
    NOT_IN = 113
    TOO_EARLY = 114
    TOO_LATE = 115
    # never told to a caller of the API
    WINDOW_MOVED = 120
    WALLET_MOVED = 121
    LINE_CLOSED = 122
    LINE_UNMARKED = 123

    @property
    def code(self) -> str:
        """The code as callers see it."""
        return _CODES[self]

    @property
    def status(self) -> int:
        """The HTTP status that goes with it; 409 for every refusal by a rule."""
        return _STATUS.get(self, 409)


# Callers know two faults of a request by the status alone; the code is the general one.
_CODES = {outcome: outcome.name.lower() for outcome in Outcome} | {
    Outcome.BODY_TOO_LARGE: "invalid_request",
    Outcome.UNSUPPORTED_MEDIA_TYPE: "invalid_request",
}

_STATUS = {
    Outcome.DONE: 200,
    Outcome.REPEATED: 200,
    Outcome.RATE_LIMITED: 429,
    Outcome.OVERLOADED: 503,
    Outcome.RECOVERING: 503,
    Outcome.UNAUTHENTICATED: 401,
    Outcome.FORBIDDEN: 403,
    Outcome.INVALID_REQUEST: 400,
    Outcome.IDEMPOTENCY_KEY_REQUIRED: 400,
    Outcome.BODY_TOO_LARGE: 413,
    Outcome.UNSUPPORTED_MEDIA_TYPE: 415,
    Outcome.NOT_FOUND: 404,
    Outcome.IDEMPOTENCY_KEY_REUSED: 422,
}


class Sentence(NamedTuple):
    """The sentence of an outcome, one a language; ``{short_by}`` and the like are filled in."""

    en: str
    zh: str


SENTENCES: dict[Outcome, Sentence] = {
    Outcome.DONE: Sentence("Done.", "已完成。"),
    Outcome.REPEATED: Sentence("Already done; this is the first answer.", "已处理过,返回首次结果。"),
    Outcome.RATE_LIMITED: Sentence("Too many requests; wait a moment.", "请求太频繁,请稍候。"),
    Outcome.OVERLOADED: Sentence(
        "Too busy right now; try again with the same key.", "系统繁忙,请用同一个键重试。"
    ),
    Outcome.RECOVERING: Sentence(
        "Recovering; nothing is lost. Try again shortly with the same key.",
        "系统恢复中,数据不会丢失,请稍后用同一个键重试。",
    ),
    Outcome.UNAUTHENTICATED: Sentence("The key is missing or not valid.", "缺少密钥或密钥无效。"),
    Outcome.FORBIDDEN: Sentence("This key may not do that.", "该密钥无权执行此操作。"),
    Outcome.INVALID_REQUEST: Sentence("The request is not valid.", "请求格式不正确。"),
    Outcome.IDEMPOTENCY_KEY_REQUIRED: Sentence(
        "Send an Idempotency-Key header: 1 to 128 visible ASCII characters.",
        "请提供 Idempotency-Key 请求头(1 到 128 个可见 ASCII 字符)。",
    ),
    Outcome.BODY_TOO_LARGE: Sentence("The body is too large.", "请求体过大。"),
    Outcome.UNSUPPORTED_MEDIA_TYPE: Sentence(
        "Send the body as application/json.", "请以 application/json 发送请求体。"
    ),
    Outcome.NOT_FOUND: Sentence("There is no such thing here.", "未找到。"),
    Outcome.IDEMPOTENCY_KEY_REUSED: Sentence(
        "This Idempotency-Key was used for another request.", "该幂等键已用于另一个请求。"
    ),
    Outcome.CAMPAIGN_FROZEN: Sentence("This campaign is frozen.", "活动已冻结,暂不可用。"),
    Outcome.CAMPAIGN_PAUSED: Sentence("This campaign is paused.", "活动已暂停领取。"),
    Outcome.CAMPAIGN_ENDED: Sentence("This campaign has ended.", "活动已结束。"),
    Outcome.NOT_STARTED: Sentence("This campaign has not started yet.", "活动尚未开始。"),
    Outcome.USER_FROZEN: Sentence("This member's account is frozen.", "该会员账户已冻结。"),
    Outcome.NOT_ELIGIBLE: Sentence("This campaign is not for this member.", "该会员不符合领取条件。"),
    Outcome.CHANNEL_NOT_ALLOWED: Sentence("Not available in this channel.", "该渠道不可用。"),
    Outcome.USER_LIMIT: Sentence("This member has all they may have.", "已达个人领取上限。"),
    Outcome.USER_DAY_LIMIT: Sentence("This member has today's share.", "已达今日领取上限。"),
    Outcome.USER_WEEK_LIMIT: Sentence("This member has this week's share.", "已达本周领取上限。"),
    Outcome.USER_MONTH_LIMIT: Sentence("This member has this month's share.", "已达本月领取上限。"),
    Outcome.CAMPAIGN_RATE_LIMIT: Sentence("Too many at once; try again soon.", "领取太快,请稍后再试。"),
    Outcome.CAMPAIGN_DAY_LIMIT: Sentence("The campaign's share for today is used.", "活动今日名额已用完。"),
    Outcome.BUDGET_EXHAUSTED: Sentence("The campaign's budget is used up.", "活动预算已用完。"),
    Outcome.SOLD_OUT: Sentence("Sold out.", "已领完。"),
    Outcome.CODE_INVALID: Sentence("This code is not valid.", "无效的券码。"),
    Outcome.CODE_EXPIRED: Sentence("The code has expired; show a fresh one.", "券码已过期,请刷新后重新出示。"),
    Outcome.DIFFERENT_OWNERS: Sentence(
        "These coupons belong to different members.", "这些券不属于同一会员,请分开核销。"
    ),
    Outcome.ALREADY_REDEEMED: Sentence("This coupon is already redeemed.", "该券已核销。"),
    Outcome.HELD: Sentence("This coupon is set aside for another purchase.", "该券正被另一笔交易占用。"),
    Outcome.CODE_USED: Sentence("This picture was used; show a fresh one.", "该二维码已使用,请刷新后重新出示。"),
    Outcome.VOIDED: Sentence("This coupon was withdrawn.", "该券已作废。"),
    Outcome.REFUNDED: Sentence("This coupon was refunded.", "该券已退款。"),
    Outcome.TRANSFERRED: Sentence("This coupon was given to someone else.", "该券已转赠。"),
    Outcome.EXPIRED: Sentence("This coupon has expired.", "该券已过期。"),
    Outcome.NOT_YET_VALID: Sentence("This coupon is not valid yet.", "该券尚未生效。"),
    Outcome.STORE_NOT_ALLOWED: Sentence("Not valid in this store.", "该券不适用于本店。"),
    Outcome.OUTSIDE_HOURS: Sentence("Not valid at this time of day.", "当前时段不可用。"),
    Outcome.NO_ELIGIBLE_ITEMS: Sentence("Nothing here that this coupon is for.", "没有适用的商品。"),
    Outcome.MIN_QUANTITY: Sentence("Too few of the items it is for.", "适用商品件数不足。"),
    Outcome.MIN_SPEND: Sentence("The minimum spend is not reached.", "未达到最低消费。"),
    Outcome.STACKING_CONFLICT: Sentence("It can't be combined with the others.", "该券不能与其他券同时使用。"),
    Outcome.GROUP_LIMIT: Sentence("No more of this kind together.", "同组券已达叠加上限。"),
    Outcome.CAMPAIGN_LIMIT: Sentence("No more of this campaign at once.", "同一活动的券已达单次上限。"),
    Outcome.TOO_MANY_COUPONS: Sentence("At most 12 coupons at once.", "一次最多使用 12 张券。"),
    Outcome.STORE_LIMIT: Sentence("This store's share for today is used.", "本店今日名额已用完。"),
    Outcome.POINTS_INSUFFICIENT: Sentence("Not enough points.", "积分不足。"),
    Outcome.BALANCE_INSUFFICIENT: Sentence("The balance is too low.", "余额不足。"),
    Outcome.NO_EFFECT: Sentence("It would take nothing off; it was not used.", "该券没有可抵扣金额,未使用。"),
    Outcome.HOLD_EXPIRED: Sentence("The time set for this hold has passed.", "占用已超时失效。"),
    Outcome.HOLD_RELEASED: Sentence("This hold was released.", "占用已释放。"),
    Outcome.ALREADY_REVERSED: Sentence("This is already reversed.", "已撤销核销。"),
    Outcome.NOTHING_TO_REVERSE: Sentence("There is nothing to reverse.", "没有可撤销的内容。"),
    Outcome.MORE_THAN_REDEEMED: Sentence("More than was bought is returned.", "退货金额超过原交易。"),
    Outcome.ORDER_EXPIRED: Sentence("The order lapsed unpaid.", "订单已超时。"),
    Outcome.ORDER_CANCELLED: Sentence("The order was cancelled.", "订单已取消。"),
    Outcome.AMOUNT_MISMATCH: Sentence("The amount is not the order's.", "金额不符。"),
    Outcome.NOT_REFUNDABLE: Sentence("It can't be refunded.", "不可退款。"),
    Outcome.GIFT_TAKEN: Sentence("The gift is already taken.", "礼物已被领取。"),
    Outcome.GIFT_EXPIRED: Sentence("The gift was not taken in time.", "礼物已过期。"),
    Outcome.NOT_TRANSFERABLE: Sentence("It can't be given on.", "不可转赠。"),
    Outcome.ALREADY_EXISTS: Sentence("This id is already taken.", "该编号已存在。"),
    Outcome.PERIOD_OPEN: Sentence("The period is not complete yet.", "账期尚未结束或数据未齐。"),
    Outcome.PERIOD_OVERLAPS: Sentence("It overlaps a settled period.", "与已结算账期重叠。"),
    Outcome.REVISION_CHANGED: Sentence("It was changed meanwhile; read it again.", "内容已被修改,请重新读取。"),
    Outcome.PLATE_TAKEN: Sentence("This plate belongs to someone else.", "该车牌已被绑定。"),
    Outcome.PLATE_CONFLICT: Sentence("This plate is in another stay.", "该车牌另有在场记录。"),
    Outcome.RECEIPT_USED: Sentence("This receipt already freed a car.", "该小票已用于停车减免。"),
    Outcome.STAY_CLOSED: Sentence("This stay is closed.", "该停车记录已结束。"),
    Outcome.WRONG_STATUS: Sentence("Its status does not allow that.", "当前状态不允许此操作。"),
    Outcome.WRONG_EVENT: Sentence("This ticket is for another event.", "该票不适用于本场活动。"),
    Outcome.NOT_PAID: Sentence("The order is not paid yet.", "订单尚未支付。"),
    Outcome.ALREADY_IN: Sentence("This ticket has been used to enter.", "该票已入场。"),
    Outcome.NOT_IN: Sentence("Nobody is inside with this ticket.", "该票当前不在场内。"),
    Outcome.TOO_EARLY: Sentence("Entry is not open yet.", "尚未开始入场。"),
    Outcome.TOO_LATE: Sentence("Entry has closed.", "已停止入场。"),
    Outcome.WINDOW_MOVED: Sentence("The key's window moved on.", "幂等窗口已更新。"),
    Outcome.WALLET_MOVED: Sentence("The wallet changed meanwhile.", "券包已变化。"),
    Outcome.LINE_CLOSED: Sentence("Nobody is waiting.", "无人排队。"),
    Outcome.LINE_UNMARKED: Sentence("The line has only begun.", "候补队列刚刚建立。"),
}


def sentence(outcome: Outcome, language: str = "en", **details: Any) -> str:
    """The sentence of ``outcome`` in ``en`` or ``zh-CN``, with what is missing said in yuan."""
    chinese = language.lower().startswith("zh")
    text = SENTENCES[outcome].zh if chinese else SENTENCES[outcome].en
    short_by = details.get("short_by")
    if short_by and outcome is Outcome.MIN_SPEND:
        yuan = f"{short_by // 100}.{short_by % 100:02d}"
        return f"还差 {yuan} 元可用。" if chinese else f"{yuan} more is needed to use it."
    return text


def markdown() -> str:
    """docs/OUTCOMES.md, whole."""
    rows = [
        "# Outcomes",
        "",
        "Generated by `python -m engine.outcomes`; the order is the order of judgement.",
        "",
        "| number | code | status | English | 中文 |",
        "|---|---|---|---|---|",
    ]
    for outcome in Outcome:
        if outcome < Outcome.WINDOW_MOVED:
            en, zh = SENTENCES[outcome]
            rows.append(f"| {int(outcome)} | `{outcome.code}` | {outcome.status} | {en} | {zh} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
