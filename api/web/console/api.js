// The API as the console calls it: the key, the language, one Idempotency-Key an act, and every
// refusal as the sentence that the API says.

import { language, t } from "./words.js";

// Each call as the API's own routes spell it. Nothing else here names a path.
export const CALLS = {
  ready: "GET /readyz",
  settings: "GET /v1/settings",
  stores: "GET /v1/stores",
  campaigns: "GET /v1/campaigns",
  campaign: "GET /v1/campaigns/{id}",
  changeCampaign: "PATCH /v1/campaigns/{id}",
  addStock: "POST /v1/campaigns/{id}/stock",
  recall: "POST /v1/campaigns/{id}/recall",
  job: "GET /v1/jobs/{id}",
  coupon: "GET /v1/coupons/{id}",
  history: "GET /v1/coupons/{id}/history",
  attempts: "GET /v1/coupons/{id}/attempts",
  voidCoupon: "POST /v1/coupons/{id}/void",
  resolve: "POST /v1/scans/resolve",
  quote: "POST /v1/quotes",
  redeem: "POST /v1/redemptions",
  redemptions: "GET /v1/redemptions",
  redemption: "GET /v1/redemptions/{id}",
  reverse: "POST /v1/redemptions/{id}/reversals",
  stock: "GET /v1/reports/stock",
  redeemed: "GET /v1/reports/redemptions",
  attribution: "GET /v1/reports/attribution",
  kpi: "GET /v1/reports/kpi",
  statements: "GET /v1/statements",
  statement: "GET /v1/statements/{id}",
  entries: "GET /v1/statements/{id}/entries",
};

const BASE = new URL("../", import.meta.url); // a proxy may put a prefix before /console/
const PATIENCE_MS = 15000;
const PAUSES_MS = [1000, 2000]; // before an act is sent again with the same key

// ---- who is here: in this tab only, and never in an address -----------------------------------

const KEPT = "hexiao-session";

export function session() {
  return JSON.parse(sessionStorage.getItem(KEPT) || "null");
}

export function keep(who) {
  if (who) sessionStorage.setItem(KEPT, JSON.stringify(who));
  else sessionStorage.removeItem(KEPT);
}

// ---- calls ------------------------------------------------------------------------------------

/** A refusal or a failure; `message` is the sentence to show. */
export class Problem extends Error {
  constructor(status, body) {
    const field = status === 400 && body.field ? ` (${body.field})` : "";
    super((body.say || body.detail || t("error.unknown", { status })) + field);
    this.status = status; // 0: nobody answered
    this.code = body.code || "";
    this.body = body;
  }
}

/** A new Idempotency-Key: one an act, kept while the act is tried again. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Call the API: `params` fill the path, `query` is the search, `match` a revision for If-Match.
 * An act (`idempotencyKey`) that nobody answered is sent again with the same key. Gives the body.
 */
export async function ask(name, options = {}) {
  const response = await send(name, options);
  return response.json();
}

/** The same as a file: saved under the name that the API gives it. */
export async function download(name, accept, options = {}) {
  const response = await send(name, { ...options, accept });
  const named = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") || "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = named ? named[1] : name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function send(name, options) {
  const pauses = options.idempotencyKey ? [...PAUSES_MS] : [];
  for (;;) {
    try {
      return await once(name, options);
    } catch (problem) {
      const again = problem instanceof Problem && (problem.status === 0 || problem.status === 503);
      if (!again || !pauses.length) throw problem;
      await new Promise((done) => setTimeout(done, pauses.shift()));
    }
  }
}

async function once(name, { params, query, body, key, accept, idempotencyKey, match, anyStatus }) {
  const [method, path] = CALLS[name].split(" ");
  const filled = path.slice(1).replace(/\{(\w+)\}/g, (_, one) => encodeURIComponent(params[one]));
  const url = new URL(filled, BASE);
  for (const [one, value] of Object.entries(query || {})) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(one, value);
  }
  const who = session();
  const headers = { Accept: accept || "application/json", "Accept-Language": language() };
  if (key || who) headers.Authorization = `Bearer ${ascii(key || who.key)}`;
  // At a till staff_id says it.
  if (who && who.role !== "terminal") headers["Hexiao-Actor"] = utf8(who.name);
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  if (match !== undefined) headers["If-Match"] = `"${match}"`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Problem(0, { detail: t(idempotencyKey ? "error.unsure" : "error.unreachable") });
  }
  if (response.ok || anyStatus) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (response.status === 401 && !key) {
    keep(null);
    dispatchEvent(new CustomEvent("signed-out", { detail: problem.message }));
  }
  throw problem;
}

// A header carries bytes: UTF-8 as the API reads it, each byte as a character.
function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

// What is no key must be refused by the API, not by the browser's idea of a header.
function ascii(text) {
  return text.replace(/[^!-~]/g, "?");
}

// ---- what a key may do ------------------------------------------------------------------------

// No answer names a key's role; which of four readings it is allowed tells it (a test compares
// this with the API's routes). They ask for nothing: where the key may read, that is 404 or 400.
const PROBES = [
  ["settings", {}],
  ["campaign", { params: { id: "-" } }],
  ["redemptions", { query: { limit: 0 } }],
  ["statement", { params: { id: "-" } }],
];
const ROLES = {
  "settings campaign redemptions statement": "operator",
  "campaign redemptions statement": "finance",
  "campaign redemptions": "desk",
  "redemptions": "terminal",
  "statement": "merchant",
};

/** The role of a key, "" where it has no page here; throws the Problem of a wrong key. */
export async function roleOf(key) {
  const may = [];
  for (const [name, options] of PROBES) {
    try {
      await ask(name, { ...options, key });
      may.push(name);
    } catch (problem) {
      if ([400, 404].includes(problem.status)) may.push(name);
      else if (problem.status !== 403) throw problem;
    }
  }
  return ROLES[may.join(" ")] || "";
}
