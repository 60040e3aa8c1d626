"""What an operator defines: campaigns, settings, merchants, stores. Bodies, checks, compilation.

``bodies`` the JSON shapes · ``checks`` what shapes cannot say · ``compile`` what the scripts read
· ``patch`` changing one · ``text`` the rules in words · ``times`` RFC 3339 and milliseconds.
"""

from __future__ import annotations

from engine.definitions.bodies import (
    AmountOff,
    AnyBenefit,
    Campaign,
    Exchange,
    FixedPrice,
    FixedValidity,
    Gift,
    GroupRules,
    InviteRules,
    IssueRules,
    JwtKey,
    Merchant,
    PercentOff,
    RelativeValidity,
    Settings,
    Stock,
    Store,
    name_in,
)
from engine.definitions.checks import (
    InvalidDefinitionError,
    Problem,
    check_campaign,
    check_settings,
    check_store,
    checked,
    problem_of,
)
from engine.definitions.compile import (
    BY_GROUP,
    BY_INVITATION,
    compile_issue,
    compile_settings,
    compile_store,
    compile_terms,
)
from engine.definitions.parking import (
    Lot,
    ParkingSettings,
    SpendParking,
    StayCaps,
    Tariff,
    TierParking,
)
from engine.definitions.patch import merge, merge_patch, merge_settings
from engine.definitions.shapes import ID_PATTERN, MAX_MONEY, Id, Money, Name, Time
from engine.definitions.text import rules_text
from engine.definitions.times import format_time, parse_time

__all__ = [
    "BY_GROUP",
    "BY_INVITATION",
    "ID_PATTERN",
    "MAX_MONEY",
    "AmountOff",
    "AnyBenefit",
    "Campaign",
    "Exchange",
    "FixedPrice",
    "FixedValidity",
    "Gift",
    "GroupRules",
    "Id",
    "InvalidDefinitionError",
    "InviteRules",
    "IssueRules",
    "JwtKey",
    "Lot",
    "Merchant",
    "Money",
    "Name",
    "ParkingSettings",
    "PercentOff",
    "Problem",
    "RelativeValidity",
    "Settings",
    "SpendParking",
    "StayCaps",
    "Stock",
    "Store",
    "Tariff",
    "TierParking",
    "Time",
    "check_campaign",
    "check_settings",
    "check_store",
    "checked",
    "compile_issue",
    "compile_settings",
    "compile_store",
    "compile_terms",
    "format_time",
    "merge",
    "merge_patch",
    "merge_settings",
    "name_in",
    "parse_time",
    "problem_of",
    "rules_text",
]
