// Adding: an object with its first entry, or an entry of an object.

import { Refusal } from "./api.js";
import { el, fresh, put } from "./dom.js";
import { carryOut } from "./edits.js";
import { editor } from "./editor.js";
import { open } from "./dialogs.js";
import { to } from "./route.js";
import { named } from "./names.js";

function field(label, value = "", more = {}) {
  const id = fresh("field");
  const input = el("input", { id, type: "text", value, autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...more });
  return { input, node: el("div", { class: "field" }, el("label", { for: id }, label), input) };
}

function form(close, fields, note, write) {
  const wrong = el("p", { class: "wrong", role: "alert" });
  const input = editor({
    base: new Uint8Array(),
    way: "json",
    expiresAt: null,
    fresh: true,
    cancel: () => close(),
    save: async (entry, ttl) => {
      put(wrong);
      try {
        await write({ verb: "set", entry, ...(ttl === null ? {} : { ttl }) });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        put(wrong, error.message);
      }
    },
  });
  return el("div", {}, note, fields.map((each) => each.node), input.node, wrong);
}

/** Add an object; the view of it follows. */
export async function addObject(page, service = null) {
  if (!page.writable()) return;
  const place = await open("Add an object", (close) => {
    const first = field("Service", service ?? "", service === null ? { "data-first": true } : { readonly: true });
    const key = field("Key", "", service === null ? {} : { "data-first": true });
    const stateKey = field("State key");
    return form(close, [first, key, stateKey], null, async (change) => {
      const at = [service ?? first.input.value, key.input.value];
      const { done, reload } = await carryOut(...at, null, [{ ...change, state_key: stateKey.input.value }], "Object added");
      if (done || reload) close(to.object(...at));
    });
  });
  if (place) page.go(place);
}

/** Add an entry to an object; resolves with what `carryOut` gave, null for nothing. */
export function addEntry(service, key, base) {
  return open("Add an entry", (close) => {
    const stateKey = field("State key", "", { "data-first": true });
    const note = el("p", { class: "muted" }, "To ", named(key), " of ", named(service));
    return form(close, [stateKey], note, async (change) => {
      const name = stateKey.input.value;
      if (base.entries.some((each) => each.state_key === name)) {
        throw new Refusal(400, { error: "There is an entry of this name; edit that one." });
      }
      const answer = await carryOut(service, key, base, [{ ...change, state_key: name }], "Entry added");
      if (answer.done || answer.reload) close({ ...answer, stateKey: name });
    });
  });
}
