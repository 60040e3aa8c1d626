"""Bodies that /openapi.json shows: what a first caller of the demo mall would send."""

from __future__ import annotations

from typing import Any

BASKET = {
    "amount": 23800,
    "lines": [{"id": "1", "sku": "noodles", "category": "dining", "quantity": 2, "amount": 23800}],
}

EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/campaigns"): {
        "id": "noodle-20",
        "name": {"zh-CN": "满100减20", "en": "20 off 100"},
        "kind": "coupon",
        "category": "dining",
        "benefit": {"type": "amount_off", "amount": 2000},
        "stock": {"total": 1000},
        "issue": {"per_user": 2, "per_user_per_day": 1},
        "validity": {"type": "relative", "minutes": 10080},
        "usage": {"min_spend": 10000, "hours": [["10:00", "22:00"]]},
        "funding": {"mall": 50, "merchant": 50},
    },
    ("PATCH", "/v1/campaigns/{id}"): {"status": "paused"},
    ("POST", "/v1/campaigns/{id}/stock"): {"add": 500},
    ("PUT", "/v1/merchants/{id}"): {"name": {"zh-CN": "一碗面", "en": "One Bowl"}},
    ("PUT", "/v1/stores/{id}"): {"name": "One Bowl, B1", "merchant_id": "one-bowl", "floor": "B1"},
    ("PUT", "/v1/lots/{id}"): {
        "name": "P1",
        "merchant_id": "parkwell",
        "tariff": {
            "free_minutes": 15,
            "first": {"minutes": 60, "fee": 500},
            "unit_minutes": 30,
            "unit_fee": 300,
            "cap_per_day": 4000,
        },
        "grace_minutes": 15,
    },
    ("PUT", "/v1/vehicles/{plate}"): {"user_ids": ["ann", "bob"]},
    ("POST", "/v1/parking/stays"): {
        "lot_id": "p1",
        "session_id": "20261122-0007",
        "plate": "沪AD12345",
        "entered_at": "2026-11-22T10:00:00+08:00",
    },
    ("POST", "/v1/parking/stays/{lot_id}/{session_id}/plate"): {"corrected": "沪AD12346"},
    ("POST", "/v1/parking/stays/{lot_id}/{session_id}/override"): {
        "amount": 800,
        "reason": "the lift was out of order",
        "staff_id": "08",
    },
    ("POST", "/v1/parking/offline"): {
        "exits": [
            {
                "lot_id": "p1",
                "session_id": "20261122-0007",
                "plate": "沪AD12345",
                "entered_at": "2026-11-22T10:00:00+08:00",
                "exited_at": "2026-11-22T12:10:00+08:00",
                "fee": 800,
                "deducted": 300,
            }
        ]
    },
    ("POST", "/v1/parking/validations"): {
        "campaign_id": "noodle-park",
        "store_id": "noodle-b1",
        "plate": "沪AD12345",
    },
    ("PUT", "/v1/users/{id}"): {"tier": "gold"},
    ("POST", "/v1/audiences/{id}/members"): {"add": ["ann", "bo"], "remove": []},
    ("POST", "/v1/keys"): {"role": "storefront", "label": "mini-program"},
    ("POST", "/v1/campaigns/{id}/recall"): {"reason": "printed with the wrong price"},
    ("POST", "/v1/grants"): {
        "campaign_id": "noodle-20",
        "user_ids": ["ann", "bob"],
        "channel": "office",
        "source": {"entry": "birthday"},
    },
    ("POST", "/v1/reconciliations"): {
        "store_id": "noodle-b1",
        "terminal_id": "t9",
        "business_day": "2026-01-31",
        "lines": [{"order_ref": "POS-778", "discount": 2000}],
    },
    ("POST", "/v1/claims"): {
        "campaign_id": "noodle-20",
        "user_id": "ann",
        "channel": "miniapp",
        "source": {"entry": "home-banner"},
    },
    ("POST", "/v1/offers"): {"user_id": "ann", "campaign_ids": ["noodle-20", "tea-half"]},
    ("POST", "/v1/coupons/{id}/void"): {"reason": "claimed by mistake"},
    ("POST", "/v1/quotes"): {
        "coupons": [{"id": "C0123456789ABCDEF0123456789A"}],
        "store_id": "noodle-b1",
        "channel": "miniapp",
        "basket": BASKET,
    },
    ("POST", "/v1/redemptions"): {
        "coupons": [{"code": "A6BGYVB0A6FBHJQKH0QKAT05CNF280001QZ0QNQPPCSTW60NB1B3FSST6C"}],
        "store_id": "noodle-b1",
        "terminal_id": "t9",
        "staff_id": "08",
        "channel": "cashier",
        "order_ref": "POS-778",
        "basket": BASKET,
    },
    ("POST", "/v1/redemptions/{id}/reversals"): {
        "reason": "one bowl returned",
        "lines": [{"id": "1", "amount": 11900}],
    },
    ("POST", "/v1/checkins"): {
        "code": "A6BGYVB0A6FBHJQKH0QKAT05CNF280001QZ0QNQPPCSTW60NB1B3FSST6C",
        "gate": "north",
        "direction": "in",
        "nonce": "north-000123",
        "staff_id": "08",
    },
    ("POST", "/v1/coupons/{id}/gifts"): {"seconds": 86400},
    ("POST", "/v1/gifts/{gift_code}/accept"): {"user_id": "bob"},
    ("POST", "/v1/coupons/{id}/take"): {"user_id": "bob"},
    ("POST", "/v1/campaigns/{id}/prints"): {"count": 500},
    ("POST", "/v1/points/earn"): {"user_id": "ann", "points": 100, "reason": "sign-up"},
    ("POST", "/v1/points/spend"): {"user_id": "ann", "points": 50, "reason": "claw machine"},
    ("POST", "/v1/points/adjust"): {"user_id": "ann", "points": -5, "reason": "counted twice"},
    ("POST", "/v1/points/entries/{id}/reversals"): {"policy": "only_unspent", "reason": "refund"},
    ("POST", "/v1/purchases"): {
        "transaction_id": "4200001234",
        "user_id": "ann",
        "store_id": "noodle-b1",
        "amount": 23800,
        "occurred_at": "2026-01-31T12:30:00+08:00",
    },
    ("POST", "/v1/purchases/{id}/refunds"): {
        "refund_id": "5000001234",
        "user_id": "ann",
        "amount": 11900,
    },
    ("POST", "/v1/statements"): {
        "start": "2026-01-01T00:00:00+08:00",
        "end": "2026-02-01T00:00:00+08:00",
    },
}
