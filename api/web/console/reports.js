// Reports and statements: tables with money in yuan to the fen, a picture where it helps, files.

import { html, useEffect, useState } from "./preact.js";
import { ask, download } from "./api.js";
import { count, midnight, money, rate, time } from "./format.js";
import { Amount, Field, Notice, Status, Table, useAttempt } from "./parts.js";
import { Plot } from "./plot.js";
import { Statements } from "./statements.js";
import { language, t } from "./words.js";

const DAY_S = 86400;

// Of each report: its groups (the first is the default), and the columns beside them.
const REPORTS = {
  stock: {
    names: ["campaign_id"],
    columns: [["status", "status"], ["total", "limit"], ["issued", "bar"], ["left", "limit"],
      ["redeemed", "count"], ["held", "count"], ["voided", "count"], ["expired", "count"],
      ["budget", "budget"], ["spent", "money"]],
  },
  redeemed: {
    groups: ["day", "store", "merchant", "campaign", "channel"],
    columns: [["redemptions", "bar"], ["reversals", "count"], ["sales", "money"],
      ["discount", "money"], ["mall_bears", "money"], ["merchant_bears", "money"],
      ["others_bear", "money"], ["commission", "money"], ["payable_to_merchant", "money"]],
  },
  attribution: {
    groups: ["campaign", "channel", "store", "entry", "tier"],
    columns: [["issued", "count"], ["redeemed", "count"], ["redemption_rate", "rate"],
      ["discount", "money"], ["sales", "barmoney"], ["basket", "money"],
      ["baseline_basket", "money"], ["basket_change", "rate"]],
  },
  kpi: {
    names: ["name"],
    period: true,
    columns: [["value", "share"], ["numerator", "count"], ["denominator", "count"],
      ["definition", "text"]],
  },
};
const TABS = {
  operator: ["stock", "redeemed", "attribution", "kpi", "statements"],
  finance: ["stock", "redeemed", "attribution", "kpi", "statements"],
  merchant: ["redeemed", "attribution", "statements"],
};

export function Reports({ who, path: [asked, id] }) {
  const tabs = TABS[who.role];
  const open = tabs.includes(asked) ? asked : tabs[0];
  return html`<h1>${t("view.reports")}</h1>
    <nav class="tabs" aria-label=${t("view.reports")}>${tabs.map((one) => html`<a key=${one}
      href=${`#/reports/${one}`} aria-current=${one === open ? "page" : undefined}>
      ${t(`report.${one}`)}</a>`)}</nav>
    ${open === "statements" ? html`<${Statements} id=${id} />`
      : html`<${Report} name=${open} key=${open} />`}`;
}

function Report({ name }) {
  const { groups, period, columns, names } = REPORTS[name];
  const [asked, setAsked] = useState({ group_by: groups && groups[0], from: "", to: "" });
  const [page, setPage] = useState(null);
  const [failure, attempt] = useAttempt();
  const query = { group_by: asked.group_by, from: midnight(asked.from), to: midnight(asked.to) };
  const shown = names || [asked.group_by];
  useEffect(() => {
    let over = false;
    setPage(null);
    attempt(async () => {
      const found = await ask(name, { query });
      if (!over) setPage(found);
    });
    return () => { over = true; };
  }, [asked, language()]);
  const more = () => attempt(async () => {
    const next = await ask(name, { query: { ...query, cursor: page.next_cursor } });
    setPage({ ...next, items: [...page.items, ...next.items] });
  });
  const set = (field) => (event) => setAsked({ ...asked, [field]: event.target.value });
  return html`<div class="filters">
      ${groups && html`<${Field} label=${t("report.by")}>
        <select value=${asked.group_by} onChange=${set("group_by")}>${groups.map(
          (one) => html`<option value=${one} key=${one}>${t(`column.${one}`)}</option>`)}
        </select></${Field}>`}
      ${(groups || period) && html`
        <${Field} label=${t("report.from")}><input type="date" value=${asked.from}
          onChange=${set("from")} /></${Field}>
        <${Field} label=${t("report.to")}><input type="date" value=${asked.to}
          onChange=${set("to")} /></${Field}>`}
      <button class="plain" onClick=${() => attempt(() => download(name, "text/csv", { query }))}>
        CSV</button>
    </div>
    <${Notice} kind="bad" text=${failure} />
    ${page && html`
      ${name === "redeemed" && asked.group_by === "day" && html`<${Days} rows=${page.items} />`}
      <${Table} caption=${t(`report.${name}`)} rows=${page.items} empty=${t("report.empty")}
        columns=${[...shown.map(named), ...columns.map((one) => column(one, page.items))]} />
      <div class="buttons">${page.next_cursor && html`<button class="plain" onClick=${more}>
        ${t("page.more")}</button>`}</div>
      <p class="muted">${t("report.as.of", { time: time(page.as_of) })}</p>`}`;
}

function named(name) {
  return {
    label: t(`column.${name}`),
    show: (row) => (name === "name" ? t(`kpi.${row.name}`, {}, row.name) : row[name] || "–"),
  };
}

function column([name, kind], rows) {
  const label = t(`column.${name}`);
  const most = () => Math.max(0, ...rows.map((row) => row[name] || 0));
  switch (kind) {
    case "status": return { label, show: (row) => html`<${Status} of=${row[name]} />` };
    case "text": return { label, show: (row) => row[name] };
    case "money": return { label, numeric: true, show: (row) => money(row[name]) };
    case "rate": return { label, numeric: true, show: (row) => rate(row[name]) };
    case "limit": return { label, numeric: true,
      show: (row) => (row[name] === null ? t("unlimited") : count(row[name])) };
    case "budget": return { label, numeric: true,
      show: (row) => (row[name] === null ? t("unlimited") : money(row[name])) };
    case "bar": return { label, numeric: true, show: (row) => html`<${Amount} value=${row[name]}
      most=${most()} text=${count(row[name])} />` };
    case "barmoney": return { label, numeric: true, show: (row) => html`<${Amount}
      value=${row[name]} most=${most()} text=${money(row[name])} />` };
    case "share": return { label, numeric: true, show: (row) => html`<${Amount} value=${row[name]}
      most=${1} text=${row[name] > 1 ? row[name].toFixed(2) : rate(row[name])} />` };
    default: return { label, numeric: true, show: (row) => count(row[name]) };
  }
}

/** Discounts by day; the scale is in yuan, drawn, not reckoned with. */
function Days({ rows }) {
  const [data, setData] = useState(null);
  useEffect(() => {
    const byDay = new Map(rows.map((row) => [Date.parse(`${row.day}T00:00:00Z`) / 1000, row]));
    const days = [...byDay.keys()].sort((one, other) => one - other);
    const all = [];
    for (let at = days[0] - DAY_S; at <= days[days.length - 1] + DAY_S; at += DAY_S) all.push(at);
    setData(days.length ? [all, all.map((at) => (byDay.has(at) ? byDay.get(at).discount : 0) / 100)]
      : null);
  }, [rows]);
  if (!data) return null;
  return html`<${Plot} label=${t("report.days")} data=${data} days series=${[
    { label: t("column.discount"), color: "--left", scale: "money", bars: true }]} />`;
}
