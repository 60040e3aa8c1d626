// Money, times and numbers as they are shown and typed. Money is an integer of fen everywhere:
// its point is set in the text, never by a division.

import { language, t } from "./words.js";

/** 123456 → "1,234.56"; nothing → "–". */
export function money(fen) {
  if (fen === null || fen === undefined) return "–";
  const digits = String(Math.abs(fen)).padStart(3, "0");
  const yuan = digits.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ",");
  return `${fen < 0 ? "−" : ""}${yuan}.${digits.slice(-2)}`;
}

/** "1,234.5" (full-width as well) → 123450; null where it is no amount. */
export function fenOf(text) {
  const plain = text.normalize("NFKC").replace(/[\s,¥元]/g, "");
  const match = /^(-?)(\d{1,9})(?:\.(\d{1,2}))?$/.exec(plain);
  if (!match) return null;
  return Number(`${match[1]}${match[2]}${(match[3] || "").padEnd(2, "0")}`);
}

/** A whole number of typed text; null where it is none. */
export function wholeOf(text) {
  const plain = text.normalize("NFKC").replace(/[\s,]/g, "");
  return /^-?\d{1,12}$/.test(plain) ? Number(plain) : null;
}

// Who looks at the mall is in its time zone; the foot of the page names the one that is used.
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const LOCAL = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

/** "2026-01-31T10:00:00.000Z" → "2026-01-31 18:00:00" where the reader is in Shanghai. */
export function time(text) {
  return text ? LOCAL.format(new Date(text)) : "–";
}

/** The reader's midnight at the start of a typed day as the API takes it; "" for none. */
export function midnight(day) {
  return day && new Date(`${day}T00:00:00`).toISOString();
}

/** 1234567 → "1,234,567"; nothing → "–". */
export function count(number) {
  if (number === null || number === undefined) return "–";
  return number.toLocaleString("en-US");
}

/** 0.1234 → "12.3 %". */
export function rate(value) {
  return value === null || value === undefined ? "–" : `${(value * 100).toFixed(1)} %`;
}

/** Minutes as days, hours or minutes, whichever is whole. */
export function duration(minutes) {
  const [unit, size] = [["day", 1440], ["hour", 60], ["minute", 1]].find(
    ([, one]) => minutes % one === 0);
  const n = minutes / size;
  return t(n === 1 ? `unit.${unit}` : `unit.${unit}s`, { n });
}

/** A name in the reader's language; names are texts, or tables of them by language. */
export function named(name, otherwise = "") {
  if (!name || typeof name === "string") return name || otherwise;
  return name[language()] || name["zh-CN"] || Object.values(name)[0] || otherwise;
}
