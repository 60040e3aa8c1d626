"""What an operator defines: campaigns, settings, merchants, stores. Bodies, checks, compilation.

``bodies`` the JSON shapes · ``checks`` what shapes cannot say · ``compile`` what the scripts read
· ``patch`` changing one · ``text`` the rules in words · ``times`` RFC 3339 and milliseconds.
"""

from __future__ import annotations

from engine.definitions.bodies import (
    ID_PATTERN,
    MAX_MONEY,
    AmountOff,
    AnyBenefit,
    Campaign,
    Exchange,
    FixedPrice,
    FixedValidity,
    Gift,
    Id,
    IssueRules,
    JwtKey,
    Merchant,
    Money,
    Name,
    PercentOff,
    RelativeValidity,
    Settings,
    Stock,
    Store,
    Time,
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
    compile_issue,
    compile_settings,
    compile_store,
    compile_terms,
)
from engine.definitions.patch import merge, merge_patch, merge_settings
from engine.definitions.text import rules_text
from engine.definitions.times import format_time, parse_time

__all__ = [
    "ID_PATTERN",
    "MAX_MONEY",
    "AmountOff",
    "AnyBenefit",
    "Campaign",
    "Exchange",
    "FixedPrice",
    "FixedValidity",
    "Gift",
    "Id",
    "InvalidDefinitionError",
    "IssueRules",
    "JwtKey",
    "Merchant",
    "Money",
    "Name",
    "PercentOff",
    "Problem",
    "RelativeValidity",
    "Settings",
    "Stock",
    "Store",
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
