// Look-up: a coupon by id or code, a redemption by id or order, and what a desk may do with it.

import { html, useEffect, useState } from "./preact.js";
import { ask } from "./api.js";
import { money, named, time } from "./format.js";
import { Confirm, Facts, Field, Notice, Status, Table, useAttempt } from "./parts.js";
import { storeNames } from "./terms.js";
import { language, t } from "./words.js";

const WAYS = ["coupon", "code", "redemption", "order"];

export function Lookup({ who, path: [what, id] }) {
  const [stores, setStores] = useState({});
  useEffect(() => {
    ask("stores", { query: { limit: 200 } })
      .then((found) => setStores(storeNames(found.items)))
      .catch(() => {}); // their ids are shown then
  }, []);
  return html`<h1>${t("view.lookup")}</h1>
    <${Search} stores=${stores} />
    ${what === "coupon" && id && html`<${Coupon} id=${id} who=${who} stores=${stores}
      key=${id} />`}
    ${what === "redemption" && id && html`<${Redemption} id=${id} stores=${stores} key=${id} />`}`;
}

function go(what, id) {
  location.hash = `#/lookup/${what}/${encodeURIComponent(id)}`;
}

function Search({ stores }) {
  const [way, setWay] = useState("coupon");
  const [found, setFound] = useState(null);
  const [failure, attempt] = useAttempt();
  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const text = form.get("text").trim();
    setFound(null);
    if (way === "coupon" || way === "redemption") return go(way, text);
    return attempt(async () => {
      if (way === "order") {
        setFound(await ask("redemptions", { query: { order_ref: text } }));
        return;
      }
      const body = { code: text, store_id: form.get("store") || null };
      const scan = await ask("resolve", { body });
      // Without a store, that it can be used "here" says nothing.
      setFound(body.store_id || !scan.usable ? scan : { coupons: scan.coupons });
      if (scan.coupon) go("coupon", scan.coupon.id);
    });
  }
  return html`<form class="card search" onSubmit=${submit}>
    <${Field} label=${t("lookup.way")}>
      <select value=${way} onChange=${(event) => setWay(event.target.value)}>
        ${WAYS.map((one) => html`<option value=${one} key=${one}>${t(`lookup.${one}`)}</option>`)}
      </select>
    </${Field}>
    <${Field} label=${t(`lookup.${way}`)}>
      <input name="text" required autocomplete="off" spellcheck=${false} autofocus />
    </${Field}>
    ${way === "code" && html`<${Field} label=${t("store")}>
      <select name="store"><option value="">–</option>
        ${Object.entries(stores).map(([one, name]) => html`<option value=${one} key=${one}>
          ${name}</option>`)}</select></${Field}>`}
    <div class="buttons"><button type="submit">${t("look.up")}</button></div>
    <${Notice} kind="bad" text=${failure} />
    ${found && found.say && html`<${Notice} kind=${found.usable ? "ok" : "info"}
      text=${found.say} />`}
    ${found && found.coupons && html`<ul>${found.coupons.map((one) => html`<li key=${one.id}>
      <a href=${`#/lookup/coupon/${encodeURIComponent(one.id)}`}>${one.campaign_id}</a> ${one.id}
      </li>`)}</ul>`}
    ${found && found.items && html`<${Redemptions} items=${found.items} />`}
  </form>`;
}

function Redemptions({ items }) {
  return html`<${Table} caption=${t("lookup.order")} rows=${items} empty=${t("lookup.nothing")}
    columns=${[
      { label: t("lookup.redemption"), show: (row) => html`<a
        href=${`#/lookup/redemption/${encodeURIComponent(row.id)}`}>${row.id}</a>` },
      { label: t("column.status"), show: (row) => html`<${Status} of=${row.status} />` },
      { label: t("column.at"), show: (row) => time(row.at) },
      { label: t("money.discount"), numeric: true, show: (row) => money(row.discount) },
      { label: t("money.payable"), numeric: true, show: (row) => money(row.payable) },
    ]} />`;
}

// ---- a coupon ---------------------------------------------------------------------------------

function Coupon({ id, who, stores }) {
  const [coupon, setCoupon] = useState(null);
  const [history, setHistory] = useState([]);
  const [attempts, setAttempts] = useState([]);
  const [used, setUsed] = useState([]);
  const [said, setSaid] = useState("");
  const [asked, setAsked] = useState(false);
  const [failure, attempt] = useAttempt();
  const load = () => attempt(async () => {
    const params = { id };
    setCoupon(await ask("coupon", { params, query: { expand: "terms" } }));
    setHistory((await ask("history", { params })).items);
    setAttempts((await ask("attempts", { params })).items);
    setUsed((await ask("redemptions", { query: { coupon_id: id } })).items);
  });
  useEffect(() => { load(); }, [id, language()]);
  if (!coupon) return html`<${Notice} kind="bad" text=${failure} />`;
  async function withdraw({ reason }, idempotencyKey) {
    await ask("voidCoupon", { params: { id }, body: { reason }, idempotencyKey });
    setSaid(t("done.void"));
    await load();
  }
  const rules = coupon.rules || [];
  return html`<section class="card">
    <h2>${named(coupon.name, coupon.campaign_id)} <${Status} of=${coupon.status} /></h2>
    <${Notice} kind="bad" text=${failure} />
    <${Notice} kind="ok" text=${said} />
    <${Facts} items=${[
      [t("lookup.coupon"), coupon.id],
      [t("column.campaign"), coupon.campaign_id],
      [t("column.user"), coupon.user_id || t("coupon.nobody")],
      [t("column.kind"), t(`kind.${coupon.kind}`)],
      [t("coupon.issued"), time(coupon.issued_at)],
      [t("coupon.from"), time(coupon.valid_from)],
      [t("coupon.until"), coupon.valid_until ? time(coupon.valid_until) : t("unlimited")],
      [t("coupon.uses"), coupon.uses_left],
      [t("coupon.balance"), coupon.balance === null ? "" : money(coupon.balance)],
      [t("coupon.held"), coupon.held_until ? time(coupon.held_until) : ""],
    ]} />
    ${rules.length > 0 && html`<h3>${t("coupon.rules")}</h3><ul>${rules.map(
      (one) => html`<li key=${one.code + one.text}>${one.text}</li>`)}</ul>`}
    ${who.role === "operator" && coupon.status === "issued" && html`<div class="buttons">
      <button class="danger" onClick=${() => setAsked(true)}>${t("act.void")}</button></div>`}
    ${used.length > 0 && html`<h3>${t("coupon.used")}</h3><${Redemptions} items=${used} />`}
    <h3>${t("coupon.history")}</h3>
    <${Table} caption=${t("coupon.history")} rows=${history} empty=${t("coupon.no.history")}
      columns=${historyColumns(stores)} />
    <h3>${t("coupon.attempts")}</h3>
    <${Table} caption=${t("coupon.attempts")} rows=${attempts} empty=${t("coupon.no.attempts")}
      columns=${attemptColumns(stores)} />
    ${asked && html`<${Confirm} title=${t("act.void")} text=${t("act.void.text")} danger
      button=${t("act.void")} fields=${[{ name: "reason", label: t("reason") }]}
      run=${withdraw} close=${() => setAsked(false)} />`}
  </section>`;
}

function historyColumns(stores) {
  return [
    { label: t("column.at"), show: (row) => time(row.at) },
    { label: t("column.act"), show: (row) => t(`fact.${row.type}`, {}, row.type) },
    { label: t("store"),
      show: (row) => stores[row.store_id] || row.store_id || row.channel || "–" },
    { label: t("column.who"), show: (row) => whoOf(row.who) },
    { label: t("money.discount"), numeric: true, show: (row) => money(row.discount) },
    { label: t("column.note"), show: (row) => [row.reason, row.order_ref, row.code]
      .filter(Boolean).join(" · ") || "–" },
  ];
}

function whoOf(who) {
  return [who.actor, who.staff, who.terminal, who.label].filter(Boolean).join(" · ") || "–";
}

function attemptColumns(stores) {
  return [
    { label: t("column.at"), show: (row) => time(row.at) },
    { label: t("column.why"), show: (row) => row.detail || row.code },
    { label: t("store"), show: (row) => stores[row.store_id] || row.store_id || "–" },
    { label: t("column.who"), show: (row) => [row.staff_id, row.terminal_id,
      (row.who || {}).label].filter(Boolean).join(" · ") || "–" },
  ];
}

// ---- a redemption -----------------------------------------------------------------------------

function Redemption({ id, stores }) {
  const [found, setFound] = useState(null);
  const [said, setSaid] = useState("");
  const [asked, setAsked] = useState(false);
  const [failure, attempt] = useAttempt();
  const load = () => attempt(async () => setFound(await ask("redemption", { params: { id } })));
  useEffect(() => { load(); }, [id]);
  if (!found) return html`<${Notice} kind="bad" text=${failure} />`;
  async function reverse({ reason }, idempotencyKey) {
    const done = await ask("reverse", { params: { id }, body: { reason }, idempotencyKey });
    setSaid(done.say || t("done.reversed", { amount: money(done.refund) }));
    await load();
  }
  return html`<section class="card">
    <h2>${t("redemption")} <${Status} of=${found.status} /></h2>
    <${Notice} kind="bad" text=${failure} />
    <${Notice} kind="ok" text=${said} />
    <${Facts} items=${[
      [t("lookup.redemption"), found.id],
      [t("lookup.order"), found.order_ref],
      [t("column.at"), time(found.at)],
      [t("store"), stores[found.store_id] || found.store_id],
      [t("column.user"), found.user_id],
      [t("column.staff"), [found.staff_id, found.terminal_id].filter(Boolean).join(" · ")],
      [t("money.amount"), money(found.amount)],
      [t("money.discount"), money(found.discount)],
      [t("money.tendered"), found.tendered ? money(found.tendered) : ""],
      [t("money.payable"), money(found.payable)],
      [t("money.refunded"), found.refunded ? money(found.refunded) : ""],
      [t("coupon.held"), found.status === "held" ? time(found.until) : ""],
    ]} />
    <h3>${t("redemption.coupons")}</h3>
    <ul>${found.applied.map((one) => html`<li key=${one.coupon_id}>
      <a href=${`#/lookup/coupon/${encodeURIComponent(one.coupon_id)}`}>${one.campaign_id}</a>
      ${" "}−${money(one.discount)}</li>`)}</ul>
    ${(found.reversals || []).length > 0 && html`<h3>${t("redemption.reversals")}</h3>
      <ul>${found.reversals.map((one) => html`<li key=${one.id}>${t("redemption.reversal", {
        reason: one.reason, amount: money(one.refund), back: money(one.discount_back),
      })}</li>`)}</ul>`}
    ${found.status === "redeemed" && html`<div class="buttons">
      <button class="danger" onClick=${() => setAsked(true)}>${t("act.reverse")}</button></div>`}
    ${asked && html`<${Confirm} title=${t("act.reverse")} text=${t("act.reverse.text")} danger
      button=${t("act.reverse")} fields=${[{ name: "reason", label: t("reason") }]}
      run=${reverse} close=${() => setAsked(false)} />`}
  </section>`;
}
