// What several views are made of.

import { html, useEffect, useRef, useState } from "./preact.js";
import { newKey } from "./api.js";
import { count } from "./format.js";
import { t } from "./words.js";

/** Run `work` now and every `ms` while the page is visible; each run begins after the last. */
export function usePoll(work, ms, inputs) {
  useEffect(() => {
    let timer = null;
    let over = false;
    let running = false;
    async function run() {
      clearTimeout(timer);
      if (over || running || document.hidden) return;
      running = true;
      try {
        await work(() => over);
      } finally {
        running = false;
        if (!over) timer = setTimeout(run, ms);
      }
    }
    document.addEventListener("visibilitychange", run);
    run();
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", run);
    };
  }, inputs);
}

/** One sentence about what happened; screen readers say it. `kind`: ok, bad or info. */
export function Notice({ kind = "info", text }) {
  const role = kind === "bad" ? "alert" : "status";
  return html`<div class="notice-place" role=${role} aria-live="polite">
    ${text && html`<p class="notice ${kind}">${text}</p>`}
  </div>`;
}

/** A labelled field; `children` is the input. */
export function Field({ label, hint, children }) {
  return html`<label class="field">
    <span>${label}</span>${children}${hint && html`<small>${hint}</small>`}
  </label>`;
}

export function Status({ of, kind = "status" }) {
  return html`<span class="status ${of}">${t(`${kind}.${of}`, {}, of)}</span>`;
}

/**
 * A table that becomes a list of cards on a narrow screen.
 * `columns`: [{key, label, show(row), numeric}], `rows`: anything.
 */
export function Table({ caption, columns, rows, empty }) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  return html`<div class="scroll"><table>
    <caption class="hidden">${caption}</caption>
    <thead><tr>${columns.map(
      (one) => html`<th scope="col" class=${one.numeric ? "numeric" : ""}>${one.label}</th>`,
    )}</tr></thead>
    <tbody>${rows.map(
      (row) => html`<tr key=${row.id}>${columns.map(
        (one) => html`<td class=${one.numeric ? "numeric" : ""} data-label=${one.label}>
          <div>${one.show(row)}</div></td>`,
      )}</tr>`,
    )}</tbody>
  </table></div>`;
}

/** Names and what they are, one a line; those with nothing to say are left out. */
export function Facts({ items }) {
  const said = items.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class="facts">${said.map(
    ([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl>`;
}

/** Stock as a bar: redeemed, issued and not redeemed, set aside, left. */
export function StockBar({ live }) {
  if (!live) return html`<span class="muted">${t("live.unknown")}</span>`;
  const used = Math.min(live.redeemed, live.issued);
  const parts = [
    ["redeemed", used],
    ["issued", live.issued - used],
    ["aside", live.set_aside],
    ["left", live.left ?? 0],
  ];
  const total = parts.reduce((sum, [, number]) => sum + number, 0);
  const label = stockText(live);
  return html`<div class="stock">
    <div class="bar" role="img" aria-label=${label}>${parts.map(
      ([name, number]) => number > 0 && html`<i class=${name} key=${name}
        style=${{ width: `${(100 * number) / total}%` }}></i>`,
    )}</div>
    <small>${label}</small>
  </div>`;
}

function stockText(live) {
  return t("live.stock", {
    left: live.left === null ? t("unlimited") : count(live.left),
    aside: count(live.set_aside),
    issued: count(live.issued),
    redeemed: count(live.redeemed),
  });
}

/** A number as a bar of the greatest one, beside its text. */
export function Amount({ value, most, text }) {
  const width = most > 0 ? Math.max(0, Math.min(100, (100 * value) / most)) : 0;
  return html`<span class="amount"><span>${text}</span>
    <span class="line" aria-hidden="true"><i style=${{ width: `${width}%` }}></i></span></span>`;
}

/**
 * Asks before an act. `text` says what will happen, `fields` are [{name, label, hint, value}],
 * `run(values, idempotencyKey)` does it; a failure is said here, and the same key tries again.
 */
export function Confirm({ title, text, fields = [], button, danger, run, close }) {
  const dialog = useRef(null);
  const key = useRef(newKey());
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  useEffect(() => dialog.current.showModal(), []);
  async function submit(event) {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.target));
    setBusy(true);
    setFailure("");
    try {
      await run(values, key.current);
      dialog.current.close();
    } catch (problem) {
      setFailure(problem.message);
      setBusy(false);
    }
  }
  return html`<dialog ref=${dialog} onClose=${close} aria-labelledby="confirm-title">
    <form onSubmit=${submit}>
      <h2 id="confirm-title">${title}</h2>
      <p>${text}</p>
      ${fields.map((one) => html`<${Field} label=${one.label} hint=${one.hint} key=${one.name}>
        <input name=${one.name} defaultValue=${one.value || ""} required=${!one.optional}
          inputmode=${one.inputmode || "text"} maxlength="500" autocomplete="off" />
      </${Field}>`)}
      <${Notice} kind="bad" text=${failure} />
      <div class="buttons">
        <button type="button" class="plain" onClick=${() => dialog.current.close()}>
          ${t("cancel")}</button>
        <button type="submit" class=${danger ? "danger" : ""} disabled=${busy}>${button}</button>
      </div>
    </form>
  </dialog>`;
}

/** What to do with an act's failure in a form: `[failure, attempt]`. */
export function useAttempt() {
  const [failure, setFailure] = useState("");
  async function attempt(work) {
    setFailure("");
    try {
      return await work();
    } catch (problem) {
      setFailure(problem.message);
      return undefined;
    }
  }
  return [failure, attempt];
}
