// Live: whether the engine is ready, and what is left of every campaign.

import { html, useState } from "./preact.js";
import { ask } from "./api.js";
import { count, money, named } from "./format.js";
import { Notice, Status, StockBar, Table, usePoll } from "./parts.js";
import { t } from "./words.js";

const EVERY_MS = 2000;
const SEARCH_MS = 10000; // a search reads many pages
const PAGE = 50;
const SEARCH_PAGES = 5;
const STATUSES = ["draft", "active", "paused", "frozen", "ended"];

export function Live() {
  return html`<h1>${t("view.live")}</h1><${Ready} /><${Campaigns} />`;
}

function Ready() {
  const [state, setState] = useState(null);
  const [failure, setFailure] = useState("");
  usePoll(async () => {
    try {
      setState(await ask("ready", { anyStatus: true }));
      setFailure("");
    } catch (problem) {
      setFailure(problem.message);
    }
  }, EVERY_MS, []);
  if (failure) return html`<${Notice} kind="bad" text=${failure} />`;
  if (!state) return null;
  const behind = Math.max(0, ...state.writer_lag.map((one) => one.ms));
  const facts = state.writer_lag.reduce((sum, one) => sum + one.facts, 0);
  return html`
    ${state.rehearsal && html`<p class="notice rehearsal" role="status">
      ${t("ready.rehearsal")}</p>`}
    <div class="readiness">
      <span class=${`status ${state.status}`}>${t(`ready.${state.status}`)}</span>
      <span>${t("ready.durability", { name: state.durability })}</span>
      <span>${t("ready.cells", { n: state.cells })}</span>
      <span>${facts ? t("ready.behind", { facts: count(facts), ms: count(behind) })
        : t("ready.in.step")}</span>
      <span>${Object.entries(state.versions).map((one) => one.join(" ")).join(" · ")}</span>
    </div>
    ${state.problems.map((one) => html`<${Notice} kind="bad" text=${one} key=${one} />`)}`;
}

function Campaigns() {
  const [text, setText] = useState("");
  const [status, setStatus] = useState("");
  const [cursors, setCursors] = useState([]); // of the pages up to this one
  const [page, setPage] = useState(null);
  const [failure, setFailure] = useState("");
  const wanted = text.trim().toLowerCase();
  usePoll(async (over) => {
    try {
      const found = await (wanted ? search(status) : one(status, cursors[cursors.length - 1]));
      if (over()) return;
      setPage(found);
      setFailure("");
    } catch (problem) {
      if (!over()) setFailure(problem.message);
    }
  }, wanted ? SEARCH_MS : EVERY_MS, [Boolean(wanted), status, cursors]);
  function filter(set) {
    return (event) => {
      set(event.target.value);
      setCursors([]);
    };
  }
  const rows = page ? page.items.filter((row) => fits(row, wanted)) : [];
  return html`
    <div class="filters">
      <label><span class="hidden">${t("live.filter")}</span>
        <input type="search" value=${text} placeholder=${t("live.filter")}
          onInput=${filter(setText)} /></label>
      <label><span class="hidden">${t("column.status")}</span>
        <select value=${status} onChange=${filter(setStatus)}>
          <option value="">${t("live.all")}</option>
          ${STATUSES.map((one) => html`<option value=${one} key=${one}>${t(`status.${one}`)}
          </option>`)}
        </select></label>
      <${Legend} />
    </div>
    <${Notice} kind="bad" text=${failure} />
    ${page && html`<${Table} caption=${t("view.live")} columns=${columns()} rows=${rows}
      empty=${wanted || status ? t("live.none") : t("live.empty")} />`}
    ${page && wanted && page.next_cursor && html`<p class="muted">
      ${t("live.searched", { n: count(page.items.length) })}</p>`}
    ${!wanted && html`<div class="buttons">
      ${cursors.length > 0 && html`<button class="plain"
        onClick=${() => setCursors(cursors.slice(0, -1))}>${t("page.before")}</button>`}
      ${page && page.next_cursor && html`<button class="plain"
        onClick=${() => setCursors([...cursors, page.next_cursor])}>${t("page.after")}</button>`}
    </div>`}`;
}

function one(status, cursor) {
  return ask("campaigns", { query: { limit: PAGE, status, cursor } });
}

async function search(status) {
  const items = [];
  let cursor = null;
  for (let n = 0; n < SEARCH_PAGES; n += 1) {
    const page = await ask("campaigns", { query: { limit: 200, status, cursor } });
    items.push(...page.items);
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  return { items, next_cursor: cursor };
}

function fits(row, wanted) {
  const names = typeof row.name === "string" ? [row.name] : Object.values(row.name);
  return [row.id, ...names].some((one) => one.toLowerCase().includes(wanted));
}

function columns() {
  return [
    {
      label: t("column.campaign"),
      show: (row) => html`<a href=${`#/campaign/${encodeURIComponent(row.id)}`}>
        ${named(row.name, row.id)}</a><small class="muted">${row.id}</small>`,
    },
    { label: t("column.kind"), show: (row) => t(`kind.${row.kind}`, {}, row.kind) },
    { label: t("column.status"), show: (row) => html`<${Status} of=${row.status} />` },
    { label: t("column.stock"), show: (row) => html`<${StockBar} live=${row.live} />` },
    {
      label: t("column.budget_left"),
      numeric: true,
      show: (row) => (row.stock.budget === null ? t("unlimited")
        : row.live ? money(row.live.budget_left) : "–"),
    },
  ];
}

function Legend() {
  return html`<span class="legend" aria-hidden="true">${
    ["redeemed", "issued", "aside", "left"].map((one) => html`<span key=${one}>
      <i class=${one}></i>${t(`stock.${one}`)}</span>`)
  }</span>`;
}
