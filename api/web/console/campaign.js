// One campaign: its terms, what is left now and over the time the page is open, and the acts.

import { html, useEffect, useRef, useState } from "./preact.js";
import { ask } from "./api.js";
import { count, fenOf, money, named, time, wholeOf } from "./format.js";
import { Confirm, Facts, Notice, Status, StockBar, usePoll } from "./parts.js";
import { Plot } from "./plot.js";
import { storeNames, termsOf } from "./terms.js";
import { t } from "./words.js";

const EVERY_MS = 2000;
const KEPT = 1800; // points of the picture: an hour

export function Campaign({ who, path: [id] }) {
  const [campaign, setCampaign] = useState(null);
  const [stores, setStores] = useState({});
  const [points, setPoints] = useState([]);
  const [failure, setFailure] = useState("");
  const [said, setSaid] = useState(null);
  const [asked, setAsked] = useState(null); // the act that is asked about
  const [job, setJob] = useState("");
  async function load(over = () => false) {
    try {
      const found = await ask("campaign", { params: { id } });
      if (over()) return;
      setCampaign(found);
      setFailure("");
      if (found.live) setPoints((before) => grown(before, found.live));
    } catch (problem) {
      if (!over()) setFailure(problem.message);
    }
  }
  usePoll(load, EVERY_MS, [id]);
  useEffect(() => {
    ask("stores", { query: { limit: 200 } })
      .then((found) => setStores(storeNames(found.items)))
      .catch(() => {}); // their ids are shown then
  }, []);
  if (!campaign) return html`<${Notice} kind="bad" text=${failure} />`;
  async function run(act, values, idempotencyKey) {
    const outcome = await act.run(campaign, values, idempotencyKey);
    if (outcome.job) setJob(outcome.job);
    setSaid({ kind: "ok", text: outcome.text });
    await load();
  }
  const acts = who.role === "operator" ? ACTS.filter((one) => one.fits(campaign)) : [];
  return html`
    <p><a href="#/live">← ${t("view.live")}</a></p>
    <h1>${named(campaign.name, id)} <${Status} of=${campaign.status} /></h1>
    <p class="muted">${t("campaign.line", {
      id, kind: t(`kind.${campaign.kind}`), revision: campaign.revision,
      time: time(campaign.updated_at),
    })}</p>
    <${Notice} kind="bad" text=${failure} />
    <div class="buttons acts">${acts.map((one) => html`<button key=${one.name}
      class=${one.danger ? "danger" : "plain"}
      onClick=${() => setAsked({ act: one, campaign })}>${t(`act.${one.name}`)}</button>`)}</div>
    <${Notice} ...${said} />
    ${job && html`<${Job} id=${job} key=${job} />`}
    ${campaign.warnings.map((one) => html`<p class="notice info" key=${one}>${one}</p>`)}
    <section class="card">
      <h2>${t("campaign.now")}</h2>
      <${StockBar} live=${campaign.live} />
      ${campaign.live && html`<${Facts} items=${figures(campaign)} />`}
      <${Picture} points=${points} unlimited=${campaign.live && campaign.live.left === null} />
    </section>
    <section class="card">
      <h2>${t("campaign.terms")}</h2>
      <${Facts} items=${termsOf(campaign, stores)} />
    </section>
    ${asked && html`<${Confirm} title=${t(`act.${asked.act.name}`)}
      text=${t(`act.${asked.act.name}.text`)} button=${t(`act.${asked.act.name}`)}
      danger=${asked.act.danger} fields=${asked.act.fields ? asked.act.fields() : []}
      run=${(values, key) => run({ ...asked.act, run: (_, ...rest) =>
        asked.act.run(asked.campaign, ...rest) }, values, key)}
      close=${() => setAsked(null)} />`}`;
}

// ---- what an operator may do --------------------------------------------------------------------

// `run` acts on the campaign as it was when the operator was asked: its revision goes with it.
const ACTS = [
  { name: "activate", fits: ({ status }) => status === "draft", run: become("active") },
  { name: "resume", fits: ({ status }) => ["paused", "frozen"].includes(status),
    run: become("active") },
  { name: "pause", fits: ({ status }) => status === "active", run: become("paused") },
  { name: "freeze", fits: ({ status }) => ["active", "paused"].includes(status), danger: true,
    run: become("frozen") },
  { name: "end", fits: ({ status }) => !["ended", "draft"].includes(status), danger: true,
    run: become("ended") },
  { name: "stock", fits: ({ stock, status }) => stock.total !== null && status !== "ended",
    fields: () => [{ name: "add", label: t("act.stock.add"), hint: t("act.stock.hint"),
      inputmode: "numeric" }],
    run: add("add", wholeOf, count) },
  { name: "budget", fits: ({ stock, status }) => stock.budget !== null && status !== "ended",
    fields: () => [{ name: "add_budget", label: t("act.budget.add"), hint: t("act.stock.hint"),
      inputmode: "decimal" }],
    run: add("add_budget", fenOf, money) },
  { name: "recall", fits: ({ status }) => status !== "draft", danger: true,
    fields: () => [{ name: "reason", label: t("reason") }],
    run: recall },
];

function become(status) {
  return async ({ id, revision }) => {
    await ask("changeCampaign", { params: { id }, match: revision, body: { status } });
    return { text: t("done.status", { status: t(`status.${status}`) }) };
  };
}

function add(name, read, show) {
  return async ({ id }, values, idempotencyKey) => {
    const number = read(values[name]);
    if (number === null || number === 0) throw new Error(t("error.number"));
    await ask("addStock", { params: { id }, body: { [name]: number }, idempotencyKey });
    return { text: t("done.added", { number: show(number) }) };
  };
}

async function recall({ id }, { reason }, idempotencyKey) {
  const job = await ask("recall", { params: { id }, body: { reason }, idempotencyKey });
  return { job: job.id, text: [t("done.recall"), ...(job.warnings || [])].join(" ") };
}

// ---- what is shown ------------------------------------------------------------------------------

function figures({ live, stock }) {
  return [
    [t("stock.left"), live.left === null ? t("unlimited") : count(live.left)],
    [t("stock.aside"), count(live.set_aside)],
    [t("stock.issued"), count(live.issued)],
    [t("stock.redeemed"), count(live.redeemed)],
    [t("column.budget_left"), stock.budget === null ? t("unlimited") : money(live.budget_left)],
    ...(live.quotas || []).map((one) => [t("campaign.quota", { id: one.id }),
      `${count(one.left)} / ${count(one.total)}`]),
    [t("as.of"), time(live.as_of)],
  ];
}

/** The points with one more: [seconds, left, claims a second since the point before]. */
function grown(points, live) {
  const at = Date.parse(live.as_of) / 1000;
  const last = points[points.length - 1];
  if (last && at <= last.at) return points;
  const pace = last ? Math.max(0, live.issued - last.issued) / (at - last.at) : 0;
  return [...points.slice(1 - KEPT), { at, left: live.left, issued: live.issued, pace }];
}

function Picture({ points, unlimited }) {
  const last = useRef([]);
  if (points.length < 2) return html`<p class="empty">${t("campaign.picture.soon")}</p>`;
  if (last.current.points !== points) {
    const first = points.map(unlimited ? (one) => one.issued : (one) => one.left);
    last.current = { points, data: [points.map((one) => one.at), first, points.map(
      (one) => Math.round(one.pace * 10) / 10)] };
  }
  return html`<${Plot} label=${t("campaign.picture")} data=${last.current.data} series=${[
    { label: t(unlimited ? "stock.issued" : "stock.left"), color: "--left", scale: "stock" },
    { label: t("campaign.pace"), color: "--redeemed", scale: "pace" },
  ]} />`;
}

function Job({ id }) {
  const [job, setJob] = useState(null);
  const [failure, setFailure] = useState("");
  const ended = job && ["done", "failed"].includes(job.status);
  usePoll(async (over) => {
    if (ended) return;
    try {
      const found = await ask("job", { params: { id }, query: { limit: 1 } });
      if (!over()) setJob(found);
    } catch (problem) {
      setFailure(problem.message);
    }
  }, 1000, [id, ended]);
  if (!job) return html`<${Notice} kind="bad" text=${failure} />`;
  const counts = Object.entries(job.counts).map(
    ([name, n]) => ` · ${t(`status.${name}`, {}, name)} ${count(n)}`);
  return html`<section class="card" aria-live="polite">
    <h2>${t(`job.${job.kind}`, {}, job.kind)} <${Status} of=${job.status} kind="job" /></h2>
    <progress max=${job.total || 1} value=${ended ? job.total || 1 : job.done}></progress>
    <p>${t("job.progress", { done: count(job.done), total: count(job.total) })}${counts}</p>
    ${job.error && html`<${Notice} kind="bad" text=${job.error} />`}
  </section>`;
}
