// The till: codes are scanned (a scanner types them and ends with Enter) or typed, an amount is
// quoted and redeemed, and what to say stands large. The scan field takes the keys by itself.

import { html, useEffect, useRef, useState } from "./preact.js";
import { ask, newKey } from "./api.js";
import { fenOf, money, named } from "./format.js";
import { Confirm, Facts, Field } from "./parts.js";
import { storeNames } from "./terms.js";
import { t } from "./words.js";

const SHORTEST_CODE = 12; // no amount is as long: whatever is, was scanned into the wrong field

/** A sale that has not begun. Its key stays the same until it is done, however often it is sent. */
function blank() {
  return { key: newKey(), scans: [], member: null, amount: "", orderRef: "" };
}

export function Till({ who }) {
  const [sale, setSale] = useState(blank);
  const [stores, setStores] = useState([]);
  const [store, setStore] = useState("");
  const [said, setSaid] = useState({ kind: "info", text: t("till.ready") });
  const [quote, setQuote] = useState(null);
  const [last, setLast] = useState(null); // the redemption that may be reversed
  const [reversing, setReversing] = useState(false);
  const [busy, setBusy] = useState(false);
  const scan = useRef(null);
  const commit = useRef(null);
  const focus = () => scan.current && scan.current.focus();

  useEffect(() => {
    ask("stores", { query: { limit: 200 } }).then((found) => {
      setStores(found.items);
      if (found.items.length) setStore(found.items[0].id);
    }).catch((problem) => setSaid({ kind: "bad", text: problem.message }));
    focus();
  }, []);
  useEffect(() => {
    // A scanner types wherever the focus is: what goes to no field goes to the scan field, and
    // its Enter with it, so that the next code never presses the button that has the focus.
    function typed(event) {
      if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey) return;
      if (event.key === "Escape") clear();
      const idle = !["INPUT", "SELECT"].includes(event.target.tagName);
      if (idle && event.key.length === 1 && event.key !== " ") focus();
    }
    document.addEventListener("keydown", typed);
    return () => document.removeEventListener("keydown", typed);
  });

  function clear() {
    setSale(blank());
    setQuote(null);
    setSaid({ kind: "info", text: t("till.ready") });
    focus();
  }

  async function work(act) {
    setBusy(true);
    try {
      await act();
    } catch (problem) {
      setSaid({ kind: "bad", text: problem.message });
    }
    setBusy(false);
  }

  async function scanned(event) {
    event.preventDefault();
    const code = scan.current.value.trim();
    scan.current.value = "";
    if (!code) return sale.scans.length || sale.member ? price(event) : undefined;
    return add(code);
  }

  function add(code) {
    return work(async () => {
      const found = await ask("resolve", {
        body: { code, store_id: store || null, channel: "cashier" },
      });
      setQuote(null);
      setSaid({ kind: found.usable ? "info" : "bad", text: found.say });
      if (found.type === "member") {
        if (found.usable) setSale((before) => ({ ...before, member: { code, ...found } }));
      } else if (found.usable) {
        const { id, name, campaign_id: campaign } = found.coupon;
        setSale((before) => ({ ...before, scans: [
          ...before.scans.filter((one) => one.id !== id), { code, id, name: named(name, campaign) },
        ] }));
      }
    });
  }

  function request() {
    const amount = sale.amount.trim() ? fenOf(sale.amount) : 0;
    if (amount === null || amount < 0) throw new Error(t("error.amount"));
    const body = { store_id: store || null, staff_id: who.name, channel: "cashier" };
    if (sale.orderRef.trim()) body.order_ref = sale.orderRef.trim();
    if (sale.amount.trim()) body.basket = { amount };
    if (sale.scans.length) body.coupons = sale.scans.map((one) => ({ code: one.code }));
    else body.choose = "best";
    if (sale.member) body.member_code = sale.member.code;
    return body;
  }

  function price(event) {
    event.preventDefault();
    const amount = sale.amount.trim();
    if (amount.length >= SHORTEST_CODE && fenOf(amount) === null) {
      setSale({ ...sale, amount: "" });
      return add(amount);
    }
    return work(async () => {
      const found = await ask("quote", { body: request() });
      setQuote(found);
      const none = !found.applied.length && !found.tenders.length;
      const why = none && found.skipped.length ? found.skipped[0].detail : found.say;
      setSaid({ kind: none ? "bad" : "info", text: why });
      if (!none) setTimeout(() => commit.current && commit.current.focus());
    });
  }

  function redeem() {
    return work(async () => {
      const done = await ask("redeem", { body: request(), idempotencyKey: sale.key });
      setLast(done);
      setSale(blank());
      setQuote(null);
      setSaid({ kind: "ok", text: done.say });
    }).then(focus);
  }

  async function reverse({ reason }, idempotencyKey) {
    const body = { reason, staff_id: who.name };
    const done = await ask("reverse", { params: { id: last.id }, body, idempotencyKey });
    setLast(null);
    setSaid({ kind: "info", text: done.say || t("done.reversed", { amount: money(done.refund) }) });
  }

  const something = sale.scans.length > 0 || sale.member;
  return html`<h1 class="hidden">${t("view.till")}</h1>
    <p class=${`say ${said.kind}`} role="status" aria-live="assertive">${said.text}</p>
    <div class="till">
      <form class="card" onSubmit=${scanned}>
        <${Field} label=${t("till.scan")} hint=${t("till.scan.hint")}>
          <input class="big" ref=${scan} name="scan" autocomplete="off" autocapitalize="off"
            spellcheck=${false} maxlength="200" />
        </${Field}>
        ${sale.member && html`<p>${t("till.member", { user: sale.member.user_id,
          n: sale.member.coupons.length })}</p>`}
        <ul class="scans">${sale.scans.map((one) => html`<li key=${one.id}>${one.name}
          <button type="button" class="plain" aria-label=${t("till.remove", { name: one.name })}
            onClick=${() => { setSale({ ...sale,
              scans: sale.scans.filter((other) => other !== one) }); setQuote(null); focus(); }}
          >×</button></li>`)}</ul>
      </form>
      <form class="card" onSubmit=${price}>
        <${Field} label=${t("till.amount")} hint=${t("till.amount.hint")}>
          <input class="big numeric" name="amount" inputmode="decimal" autocomplete="off"
            value=${sale.amount} onInput=${(event) => {
              setSale({ ...sale, amount: event.target.value });
              setQuote(null);
            }} />
        </${Field}>
        <${Field} label=${t("till.order")}>
          <input name="order" autocomplete="off" maxlength="128" value=${sale.orderRef}
            onInput=${(event) => setSale({ ...sale, orderRef: event.target.value })} />
        </${Field}>
        ${stores.length > 1 && html`<${Field} label=${t("store")}>
          <select name="store" value=${store} onChange=${(event) => {
            setStore(event.target.value);
            setQuote(null);
            focus();
          }}>
            ${Object.entries(storeNames(stores)).map(([one, name]) => html`<option value=${one}
              key=${one}>${name}</option>`)}
          </select></${Field}>`}
        ${quote && html`<${Quote} of=${quote} />`}
        <div class="buttons">
          <button type="button" class="plain" onClick=${clear}>${t("till.clear")}</button>
          <button type="submit" class="plain" disabled=${busy || !something}>
            ${t("till.quote")}</button>
          <button type="button" ref=${commit} onClick=${redeem} disabled=${busy || !something}>
            ${t("till.redeem")}</button>
        </div>
      </form>
    </div>
    ${stores.length === 1 && html`<p class="muted">${t("till.store", {
      name: named(stores[0].name, stores[0].id), staff: who.name })}</p>`}
    ${last && html`<section class="card"><${Facts} items=${[
      [t("till.last"), last.id],
      [t("lookup.order"), last.order_ref],
      [t("money.discount"), money(last.discount)],
      [t("money.payable"), money(last.payable)],
    ]} /><div class="buttons"><button class="danger" onClick=${() => setReversing(true)}>
      ${t("till.reverse")}</button></div></section>`}
    ${reversing && html`<${Confirm} title=${t("till.reverse")} text=${t("act.reverse.text")} danger
      button=${t("act.reverse")} run=${reverse}
      fields=${[{ name: "reason", label: t("reason"), value: t("till.reason") }]}
      close=${() => { setReversing(false); focus(); }} />`}`;
}

function Quote({ of }) {
  return html`<div class="quote">
    <${Facts} items=${[
      [t("money.amount"), money(of.amount)],
      [t("money.discount"), `−${money(of.discount)}`],
      [t("money.tendered"), of.tendered ? `−${money(of.tendered)}` : ""],
    ]} />
    <p class="payable"><span>${t("money.payable")}</span> <strong>${money(of.payable)}</strong></p>
    ${of.skipped.length > 0 && html`<ul class="muted">${of.skipped.map(
      (one) => html`<li key=${one.coupon_id + one.code}>${one.detail}</li>`)}</ul>`}
  </div>`;
}
