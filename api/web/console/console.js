// The console: who is here, which views they have, and which one is open (its address is a hash).

import { html, render, useEffect, useState } from "./preact.js";
import { keep, session } from "./api.js";
import { Campaign } from "./campaign.js";
import { ZONE } from "./format.js";
import { Live } from "./live.js";
import { Lookup } from "./lookup.js";
import { Reports } from "./reports.js";
import { SignIn } from "./signin.js";
import { Till } from "./till.js";
import { language, speak, t } from "./words.js";

// The views of each role; the first is where it begins. A campaign opens from the live page.
const VIEWS = {
  operator: ["live", "lookup", "till", "reports"],
  desk: ["lookup", "live"],
  finance: ["reports", "live"],
  terminal: ["till"],
  merchant: ["reports"],
};
const SHOWN = { live: Live, campaign: Campaign, lookup: Lookup, till: Till, reports: Reports };

function route() {
  return location.hash.replace(/^#\//, "").split("/").map(decodeURIComponent);
}

function Header({ who, views, open }) {
  function leave() {
    keep(null);
    dispatchEvent(new CustomEvent("signed-out", { detail: "" }));
  }
  return html`<header>
    <strong class="brand">Hexiao 核销</strong>
    <nav aria-label=${t("views")}>${views.map((one) => html`<a href=${`#/${one}`} key=${one}
      aria-current=${one === open ? "page" : undefined}>${t(`view.${one}`)}</a>`)}</nav>
    <span class="who">
      ${who && html`<span>${t("who", { name: who.name, role: t(`role.${who.role}`) })}</span>`}
      <button class="plain" onClick=${() => speak(language() === "en" ? "zh-CN" : "en")}>
        ${t("other.language")}</button>
      ${who && html`<button class="plain" onClick=${leave}>${t("sign.out")}</button>`}
    </span>
  </header>`;
}

function Console() {
  const [who, setWho] = useState(session);
  const [said, setSaid] = useState("");
  const [path, setPath] = useState(route);
  const [, setLanguage] = useState(language);
  useEffect(() => {
    const moved = () => setPath(route());
    const signedOut = (event) => {
      setWho(null);
      setSaid(event.detail);
    };
    const spoken = () => setLanguage(language());
    addEventListener("hashchange", moved);
    addEventListener("signed-out", signedOut);
    addEventListener("language", spoken);
  }, []);
  useEffect(() => {
    document.documentElement.lang = language();
    document.title = `${t("title")} · Hexiao 核销`;
  });
  const views = who ? VIEWS[who.role] || [] : [];
  const asked = path[0] === "campaign" && views.includes("live") ? "campaign" : path[0];
  const open = asked === "campaign" || views.includes(asked) ? asked : views[0];
  const rest = open === asked ? path.slice(1) : [];
  function signedIn(found) {
    keep(found);
    setSaid("");
    setWho(found);
  }
  return html`
    <${Header} who=${who} views=${views} open=${open === "campaign" ? "live" : open} />
    <main>
      ${!who && html`<${SignIn} said=${said} signedIn=${signedIn} />`}
      ${who && !open && html`<p class="empty">${t("no.views")}</p>`}
      ${who && open && html`<${SHOWN[open]} who=${who} path=${rest}
        key=${open === "campaign" ? rest[0] : open} />`}
      ${who && open && html`<footer class="muted">${t("times.zone", { zone: ZONE })}</footer>`}
    </main>`;
}

render(html`<${Console} />`, document.getElementById("console"));
