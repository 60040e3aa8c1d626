// Signing in: a key, and who acts with it. Both stay in this tab.

import { html, useState } from "./preact.js";
import { roleOf } from "./api.js";
import { Field, Notice, useAttempt } from "./parts.js";
import { t } from "./words.js";

export function SignIn({ said, signedIn }) {
  const [failure, attempt] = useAttempt();
  const [busy, setBusy] = useState(false);
  async function submit(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const key = form.get("key").trim();
    setBusy(true);
    await attempt(async () => {
      const role = await roleOf(key);
      signedIn({ key, role, name: form.get("name").trim() });
    });
    setBusy(false);
  }
  return html`<form class="card narrow" onSubmit=${submit}>
    <h1>${t("sign.in")}</h1>
    <${Field} label=${t("sign.key")} hint=${t("sign.key.hint")}>
      <input name="key" type="password" required autocomplete="off" spellcheck=${false}
        autofocus />
    </${Field}>
    <${Field} label=${t("sign.name")} hint=${t("sign.name.hint")}>
      <input name="name" required maxlength="40" autocomplete="off" />
    </${Field}>
    <${Notice} kind="bad" text=${failure || said} />
    <div class="buttons"><button type="submit" disabled=${busy}>${t("sign.in")}</button></div>
  </form>`;
}
