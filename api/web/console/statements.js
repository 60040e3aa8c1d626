// What the mall owes each merchant for a period: a list, then one statement with its lines.

import { html, useEffect, useState } from "./preact.js";
import { ask, download } from "./api.js";
import { count, money, time } from "./format.js";
import { Facts, Notice, Status, Table, useAttempt } from "./parts.js";
import { t } from "./words.js";

const CSV = "text/csv";
const XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const SUMS = ["sales", "discount", "prepaid", "mall_bears", "merchant_bears", "others_bear",
  "stored_value", "points_value", "commission", "payable_to_merchant"];

export function Statements({ id }) {
  return id ? html`<${Statement} id=${id} key=${id} />` : html`<${List} />`;
}

function List() {
  const [page, setPage] = useState(null);
  const [failure, attempt] = useAttempt();
  const load = (cursor) => attempt(async () => {
    const found = await ask("statements", { query: { cursor } });
    setPage({ ...found, items: [...(cursor ? page.items : []), ...found.items] });
  });
  useEffect(() => { load(); }, []);
  if (!page) return html`<${Notice} kind="bad" text=${failure} />`;
  return html`<${Notice} kind="bad" text=${failure} />
    <${Table} caption=${t("report.statements")} rows=${page.items} empty=${t("statement.none")}
      columns=${[
        { label: t("statement"), show: (row) => html`<a
          href=${`#/reports/statements/${encodeURIComponent(row.id)}`}>${row.id}</a>` },
        { label: t("column.merchant"), show: (row) => row.merchant_id },
        { label: t("statement.period"), show: (row) => `${time(row.start)} – ${time(row.end)}` },
        { label: t("column.status"), show: (row) => html`<${Status} of=${row.status}
          kind="statement" />` },
        { label: t("column.net_payable"), numeric: true,
          show: (row) => money(row.totals.net_payable) },
      ]} />
    <div class="buttons">${page.next_cursor && html`<button class="plain"
      onClick=${() => load(page.next_cursor)}>${t("page.more")}</button>`}</div>`;
}

function Statement({ id }) {
  const [found, setFound] = useState(null);
  const [failure, attempt] = useAttempt();
  const params = { id };
  useEffect(() => { attempt(async () => setFound(await ask("statement", { params }))); }, [id]);
  if (!found) return html`<${Notice} kind="bad" text=${failure} />`;
  const file = (name, type) => attempt(() => download(name, type, { params }));
  return html`<p><a href="#/reports/statements">← ${t("report.statements")}</a></p>
    <section class="card">
      <h2>${found.id} <${Status} of=${found.status} kind="statement" /></h2>
      <${Notice} kind="bad" text=${failure} />
      <${Facts} items=${[
        [t("column.merchant"), found.merchant_id],
        [t("statement.period"), `${time(found.start)} – ${time(found.end)}`],
        [t("statement.currency"), found.currency],
        [t("statement.late"), found.late ? count(found.late) : ""],
        [t("statement.dispute"), found.dispute],
        [t("statement.payment"), found.payment_ref],
        ...SUMS.map((one) => [t(`column.${one}`), money(found.totals[one])]),
        [t("column.adjustments"), found.totals.adjustments ? money(found.totals.adjustments) : ""],
        [t("column.bears_elsewhere"),
          found.totals.bears_elsewhere ? money(found.totals.bears_elsewhere) : ""],
      ]} />
      <p class="payable"><span>${t("column.net_payable")}</span>${" "}
        <strong>${money(found.totals.net_payable)}</strong></p>
      <div class="buttons">
        <button class="plain" onClick=${() => file("statement", XLSX)}>XLSX</button>
        <button class="plain" onClick=${() => file("statement", CSV)}>CSV</button>
        <button class="plain" onClick=${() => file("entries", CSV)}>${t("statement.entries")}
        </button>
      </div>
    </section>
    <h2>${t("statement.lines")}</h2>
    <${Table} caption=${t("statement.lines")} rows=${found.lines} empty=${t("report.empty")}
      columns=${[
        { label: t("store"), show: (row) => row.store_id || row.lot_id },
        { label: t("column.campaign"), show: (row) => row.campaign_id },
        ...["redemptions", "reversals"].map((one) => ({ label: t(`column.${one}`), numeric: true,
          show: (row) => count(row[one]) })),
        ...SUMS.map((one) => ({ label: t(`column.${one}`), numeric: true,
          show: (row) => money(row[one]) })),
      ]} />
    ${found.adjustments.length > 0 && html`<h2>${t("column.adjustments")}</h2>
      <ul>${found.adjustments.map((one) => html`<li key=${one.id}>${money(one.amount)}
        ${" "}${one.reason}</li>`)}</ul>`}`;
}
