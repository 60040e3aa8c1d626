"""Run by the environment of Django's coupon packages, knows nothing of ours: one JSON on stdout.

Arguments: WHICH (flexcommerce | coupons), database, host of its socket, tries, limit, threads,
whether commits are synced. ``tries`` people, each once, want to use a coupon that may be used
``limit`` times.
"""

import json
import sys
import threading
import time
from datetime import timedelta

import django
from django.conf import settings

WHICH, DATABASE, HOST = sys.argv[1:4]
TRIES, LIMIT, THREADS = (int(word) for word in sys.argv[4:7])
SYNCED = sys.argv[7] == "always"
APPS = {
    "flexcommerce": ["flexcommerce_core", "flexcommerce_discounts"],
    "coupons": ["coupons"],
}

settings.configure(
    SECRET_KEY="of-a-benchmark",
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *APPS[WHICH]],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": DATABASE,
            "USER": "postgres",
            "HOST": HOST,
            "CONN_MAX_AGE": None,
            "OPTIONS": {"options": f"-c synchronous_commit={'on' if SYNCED else 'off'}"},
        }
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402


def flexcommerce():
    """(use, how many uses its own counter says)."""
    from flexcommerce_discounts.models import Coupon
    from flexcommerce_discounts.services import DiscountError, redeem

    coupon = Coupon.objects.create(
        code="FEW", name="few", coupon_type=Coupon.TYPE_PERCENTAGE, value=10, usage_limit=LIMIT
    )

    def use(number):
        try:
            redeem("FEW", order_ref=f"o{number}", amount=10, email=f"u{number}@example.org")
        except DiscountError:
            return False
        return True

    def counted():
        coupon.refresh_from_db()
        return coupon.used_count

    return use, counted


def coupons():
    """The same for the package `coupons`: validate, then use, as its manual says."""
    from coupons.models import (
        AllowedUsersRule,
        Coupon,
        Discount,
        MaxUsesRule,
        Ruleset,
        ValidityRule,
    )
    from coupons.validations import validate_coupon

    rules = Ruleset.objects.create(
        allowed_users=AllowedUsersRule.objects.create(all_users=True),
        max_uses=MaxUsesRule.objects.create(max_uses=LIMIT, uses_per_user=1),
        validity=ValidityRule.objects.create(
            expiration_date=timezone.now() + timedelta(days=1), is_active=True
        ),
    )
    Coupon.objects.create(
        code="FEW",
        discount=Discount.objects.create(value=10),
        created=timezone.now(),
        ruleset=rules,
    )
    User.objects.bulk_create(User(username=f"u{n}") for n in range(TRIES))
    users = list(User.objects.order_by("id"))

    def use(number):
        if not validate_coupon("FEW", users[number])["valid"]:
            return False
        Coupon.objects.get(code="FEW").use_coupon(users[number])
        return True

    return use, lambda: Coupon.objects.get(code="FEW").times_used


call_command("migrate", verbosity=0)
use, counted = {"flexcommerce": flexcommerce, "coupons": coupons}[WHICH]()
times, accepted, numbers = [], [], iter(range(TRIES))
lock = threading.Lock()


def caller():
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            connection.close()
            return
        begun = time.perf_counter()
        done = use(number)
        times.append(time.perf_counter() - begun)
        if done:
            accepted.append(number)


begun, cpu = time.perf_counter(), time.process_time()
threads = [threading.Thread(target=caller) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
times.sort()
print(
    json.dumps(
        {
            "tries": TRIES, "limit": LIMIT, "threads": THREADS, "accepted": len(accepted),
            "counted": counted(), "seconds": seconds, "client_cpu": cpu,
            "p50": times[len(times) // 2] * 1e6, "p99": times[len(times) * 99 // 100] * 1e6,
        }
    )
)  # fmt: skip
