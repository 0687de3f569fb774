// Editing a value: one draft of bytes, typed as JSON, as text or as hexadecimal.

import { button, el, fresh } from "./dom.js";
import { formOf, ofHex, ofText, same, textOf, toHex } from "./bytes.js";
import { packed, pretty } from "./json_text.js";
import { duration } from "./expiry.js";
import { exact } from "./format.js";

const TITLES = { json: "JSON", text: "Text", hex: "Hex" };

/** How bytes are typed in each way, and what was typed as bytes; throws an Error with a reason. */
const WAYS = {
  json: { typed: (bytes) => pretty(textOf(bytes)), bytes: (text) => ofText(packed(text)) },
  text: { typed: textOf, bytes: ofText },
  hex: { typed: toHex, bytes: ofHex },
};

/** Whether a way can show the bytes and give the same bytes back. A textarea knows one line end. */
function able(way, bytes) {
  if (way === "hex") return true;
  const text = textOf(bytes);
  if (text === null || (way === "text" && text.includes("\r"))) return false;
  try {
    return WAYS[way].typed(bytes) !== null;
  } catch {
    return false;
  }
}

/**
 * An editor. `base`: bytes to begin with; `way`: how; `expiresAt`: of the entry now.
 * `save(entry, ttl)` is called with a form; `cancel()`; `changed()` after each key.
 */
export function editor({ base, way, expiresAt, save, cancel, changed = () => {}, fresh: isNew = false }) {
  let bytes = base;
  let current = isNew || able(way, base) ? way : "hex";
  const area = el("textarea", { rows: "12", spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-label": "Value" });
  const wrong = el("p", { class: "wrong", role: "alert", id: fresh("wrong") });
  area.setAttribute("aria-describedby", wrong.id);
  const expiry = expiryChoice(expiresAt);
  const saving = button("Save", () => submit(), { kind: "primary", title: "Ctrl+Enter" });
  const tabs = Object.keys(WAYS).map((each) => button(TITLES[each], () => turn(each), { kind: "tab", "data-way": each }));

  function read() {
    try {
      bytes = WAYS[current].bytes(area.value);
      wrong.textContent = "";
    } catch (error) {
      bytes = null;
      wrong.textContent = error.message;
    }
    update();
  }

  function update() {
    saving.disabled = bytes === null || !(isNew || dirty());
    for (const tab of tabs) {
      tab.setAttribute("aria-pressed", String(tab.dataset.way === current));
      tab.disabled = tab.dataset.way !== current && (bytes === null || !able(tab.dataset.way, bytes));
    }
    changed();
  }

  function show() {
    area.value = isNew && bytes.length === 0 ? "" : WAYS[current].typed(bytes);
    area.classList.toggle("hex", current === "hex");
    area.rows = Math.min(24, Math.max(isNew ? 4 : 3, area.value.split("\n").length + 1));
  }

  function turn(to) {
    if (bytes === null) return;
    current = to;
    show();
    update();
  }

  function dirty() {
    return bytes === null || !same(bytes, base) || expiry.changed();
  }

  function submit() {
    if (saving.disabled) return;
    const [at, ttl, problem] = expiry.chosen();
    if (problem) {
      wrong.textContent = problem;
      return;
    }
    save(at === null ? formOf(bytes) : { ...formOf(bytes), expires_at: at }, ttl);
  }

  area.addEventListener("input", read);
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && cancel) {
      event.preventDefault();
      event.stopPropagation();
      cancel();
    }
  };
  expiry.node.addEventListener("input", update);
  show();
  update();
  const actions = el("div", { class: "actions" }, cancel ? button("Cancel", () => cancel()) : null, saving);
  const node = el(
    "div",
    { class: "editor", on: { keydown: keys } },
    el("div", { class: "panel-bar" }, el("div", { class: "tabs", role: "group", "aria-label": "How to type the value" }, tabs), isNew ? null : actions),
    area,
    wrong,
    expiry.node,
    isNew ? actions : null,
  );
  return { node, dirty, focus: () => area.focus() };
}

/** The expiry of an entry: as it is, never, or after a while. */
function expiryChoice(expiresAt) {
  const id = fresh("expires");
  const keep = expiresAt === null ? [] : [el("option", { value: "keep" }, `stays: ${exact(expiresAt)}`)];
  const select = el("select", { id }, keep, el("option", { value: "never" }, "never"), el("option", { value: "after" }, "after"));
  const after = duration();
  const show = () => {
    after.node.hidden = select.value !== "after";
  };
  select.addEventListener("input", show);
  show();
  const first = select.value;
  const chosen = () => {
    if (select.value === "keep") return [expiresAt, null, ""];
    if (select.value === "never") return [null, null, ""];
    return [null, after.seconds(), after.seconds() === null ? "The time until it expires must be above zero." : ""];
  };
  const node = el("div", { class: "expiry-choice" }, el("label", { for: id }, "This entry expires"), select, after.node);
  return { node, chosen, changed: () => select.value !== first };
}
