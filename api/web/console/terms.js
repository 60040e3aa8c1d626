// The terms of a campaign as names and what they are.

import { duration, money, named, time } from "./format.js";
import { t } from "./words.js";

/** [[name, text]] of a campaign as GET /v1/campaigns/{id} gives it; `stores`: names by id. */
export function termsOf(campaign, stores) {
  return [
    [t("terms.benefit"), benefit(campaign.benefit)],
    [t("terms.validity"), validity(campaign.validity)],
    ...issue(campaign.issue),
    ...usage(campaign.usage, stores),
    ...stacking(campaign.stacking),
    ...business(campaign),
    ...special(campaign),
  ];
}

function benefit(of) {
  const amount = money(of.amount);
  const most = of.max_amount === null || of.max_amount === undefined ? ""
    : t("benefit.at.most", { amount: money(of.max_amount) });
  switch (of.type) {
    case "amount_off":
      if (of.steps) {
        return of.steps.map((step) => t("benefit.step", {
          min: money(step.min), amount: money(step.amount),
        })).join(t("comma"));
      }
      if (of.every) return t("benefit.every", { every: money(of.every), amount }) + most;
      return t("benefit.amount_off", { amount });
    case "percent_off": return t("benefit.percent_off", { percent: of.percent_off }) + most;
    case "fixed_price": return t("benefit.fixed_price", { amount });
    case "gift": return t("benefit.gift", { sku: of.sku, amount });
    case "exchange": return t("benefit.exchange", { item: of.item, value: money(of.value) });
    case "admission": return t("benefit.admission", { value: money(of.value) });
    case "parking_minutes": return t("benefit.parking_minutes", { n: of.minutes });
    case "parking_free": return t("benefit.parking_free") + most;
    case "stored_value": return t("benefit.stored_value", { amount });
    default: return of.type;
  }
}

function validity(of) {
  if (of.type === "fixed") return span(of.start, of.end);
  const parts = [];
  if (of.delay_minutes) parts.push(t("validity.delay", { after: duration(of.delay_minutes) }));
  if (of.minutes) parts.push(t("validity.minutes", { long: duration(of.minutes) }));
  if (of.until) parts.push(t("validity.until", { end: time(of.until) }));
  return parts.join(t("comma")) || t("validity.open");
}

function span(start, end) {
  if (!start && !end) return "";
  return `${start ? time(start) : "…"} – ${end ? time(end) : "…"}`;
}

function list(values, names = {}) {
  if (values === null || values === undefined) return "";
  if (!values.length) return t("nothing");
  return values.map((one) => names[one] || one).join(t("comma"));
}

function issue(of) {
  const limits = ["per_user", "per_user_per_day", "per_user_per_week", "per_user_per_month",
    "per_minute", "per_day"];
  return [
    [t("issue.window"), span(of.start, of.end)],
    ...limits.map((one) => [t(`issue.${one}`), of[one]]),
    [t("issue.channels"), list(of.channels)],
    [t("issue.tiers"), list(of.tiers)],
    [t("issue.audiences"), list(of.audiences)],
    [t("issue.early"), (of.early || []).map(
      (one) => `${list(one.tiers)} ${time(one.start)}`).join(t("comma"))],
    [t("issue.price"), of.price ? money(of.price) : ""],
    [t("issue.points_price"), of.points_price || ""],
  ];
}

function usage(of, stores) {
  const days = (of.weekdays || []).map((day) => t(`weekday.${day}`)).join(t("comma"));
  return [
    [t("usage.min_spend"), of.min_spend ? money(of.min_spend) : ""],
    [t("usage.min_quantity"), of.min_quantity],
    [t("usage.stores"), list(of.stores, stores)],
    [t("usage.channels"), list(of.channels)],
    [t("usage.weekdays"), of.weekdays && of.weekdays.length < 7 ? days || t("nothing") : ""],
    [t("usage.hours"), (of.hours || []).map((one) => one.join("–")).join(t("comma"))],
    [t("usage.include"), scope(of.include)],
    [t("usage.exclude"), scope(of.exclude)],
    [t("usage.uses"), of.uses > 1 ? of.uses : ""],
    [t("usage.per_day"), of.per_day],
    [t("usage.per_store_per_day"), of.per_store_per_day],
  ];
}

function scope(of) {
  if (!of) return "";
  return [list(of.categories), list(of.skus)].filter(Boolean).join(t("comma"));
}

function stacking(of) {
  const group = of.group && of.group_limit !== null ? `${of.group} ≤ ${of.group_limit}` : of.group;
  return [
    [t("stacking.class"), t(`stacking.${of.class}`)],
    [t("stacking.group"), group],
    [t("stacking.per_redemption"), of.per_redemption],
  ];
}

function business(campaign) {
  const shares = Array.isArray(campaign.funding)
    ? campaign.funding.map((one) => [one.party, one.percent])
    : Object.entries(campaign.funding);
  const rules = campaign.settlement;
  return [
    [t("terms.funding"), shares.map(([party, part]) => `${party} ${part} %`).join(t("comma"))],
    [t("terms.commission"), rules.commission_percent ? `${rules.commission_percent} %` : ""],
    [t("terms.refund"), t(campaign.refund.allowed ? "yes" : "no")],
    [t("terms.transferable"), t(campaign.transferable ? "yes" : "no")],
    [t("terms.category"), [campaign.category, campaign.scene].filter(Boolean).join(" · ")],
    [t("terms.tags"), campaign.tags.join(t("comma"))],
  ];
}

function special({ event, invite, group }) {
  return [
    [t("terms.event"), event ? `${event.id} · ${span(event.starts_at, event.ends_at)}` : ""],
    [t("terms.invite"), invite ? t(`invite.${invite.condition}`, { n: invite.needs }) : ""],
    [t("terms.group"), group ? t("group.size", { n: group.size }) : ""],
  ];
}

/** Names of stores by id, in the reader's language. */
export function storeNames(stores) {
  return Object.fromEntries(stores.map((one) => [one.id, named(one.name, one.id)]));
}
