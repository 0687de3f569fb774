// An edit that met another: yours, theirs, and what both began with.

import { button, el } from "./dom.js";
import { bytesOf, dump, textOf } from "./bytes.js";
import { diff } from "./diff.js";
import { pretty } from "./json_text.js";
import { many, when, timeOf, bytes as size } from "./format.js";
import { named } from "./names.js";
import { open } from "./dialogs.js";

/** Lines that stand for an entry in a comparison; null where it is absent. */
function lines(entry) {
  if (entry === null || entry === undefined) return null;
  const bytes = bytesOf(entry);
  if (bytes === null || entry.cut) return `(${entry.size === null ? "a large value" : size(entry.size)})`;
  const text = textOf(bytes);
  if (text === null) return dump(bytes);
  try {
    return pretty(text);
  } catch {
    return text;
  }
}

const MARKS = { "+": "added", "-": "gone", " ": "", "⋯": "muted" };
const AROUND = 3;

function row({ mark, text }) {
  return el("span", { class: `line ${MARKS[mark]}` }, `${mark} ${text}\n`);
}

/** A comparison without the lines far from any change. Where nothing changed it stays whole. */
function folded(all) {
  const changes = all.flatMap(({ mark }, at) => (mark === " " ? [] : [at]));
  if (!changes.length) return all.length > 3 * AROUND ? [{ mark: "⋯", text: "as when you began" }] : all;
  const near = (at) => changes.some((each) => Math.abs(each - at) <= AROUND);
  const kept = [];
  let skipped = 0;
  for (const [at, line] of all.entries()) {
    if (near(at)) {
      if (skipped) kept.push({ mark: "⋯", text: many(skipped, "line") });
      skipped = 0;
      kept.push(line);
    } else skipped += 1;
  }
  return skipped ? [...kept, { mark: "⋯", text: many(skipped, "line") }] : kept;
}

function pane(title, base, entry, hint, whole = false) {
  const text = lines(entry);
  const rows = text === null ? [el("span", { class: "line muted" }, hint)] : (whole ? diff(base, text) : folded(diff(base, text))).map(row);
  return el("section", { class: "pane" }, el("h4", {}, title), el("pre", { tabindex: "0", "aria-label": title }, rows));
}

/** Of an entry: what both began with, what is there now, and what you made of it. */
function compared(name, base, theirs, yours) {
  const from = lines(base);
  return el(
    "div",
    { class: "compared" },
    el("h3", {}, "Entry ", named(name)),
    el(
      "div",
      { class: "panes" },
      pane("When you began", from, base, "There was no such entry.", true),
      pane("Theirs, now", from, theirs, "The entry is gone."),
      pane("Yours", from, yours, "You clear the entry."),
    ),
  );
}

function othersChanged(base, now, named_) {
  const before = new Map((base?.entries ?? []).map((each) => [each.state_key, JSON.stringify([each.text, each.base64, each.size])]));
  const after = new Map((now?.entries ?? []).map((each) => [each.state_key, JSON.stringify([each.text, each.base64, each.size])]));
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((each) => !named_.includes(each) && before.get(each) !== after.get(each));
}

function ago(object) {
  const text = when(timeOf(object.version));
  return text === "now" ? "just now" : text;
}

/** What an edit does besides setting and clearing entries, in words. */
function told(changes) {
  const words = {
    clear_object: "You clear the whole object.",
    expire: "You set when the object expires.",
    expire_now: "You let the object expire now.",
  };
  return changes.map((each) => words[each.verb]).filter(Boolean);
}

/**
 * Show a conflict; resolves with "reload", "redo" or "force", null where nothing was chosen.
 * `base`: the object that the page showed, null for none; `changes`: what was to be done;
 * `found`: the answer of the server.
 */
export function ask(base, changes, found) {
  const now = found.object;
  const named_ = changes.filter((each) => each.state_key !== undefined);
  const others = othersChanged(base, now, named_.map((each) => each.state_key));
  const baseOf = (name) => base?.entries.find((each) => each.state_key === name) ?? null;
  const intro =
    now === null
      ? "The object is gone: somebody cleared it, or it has expired."
      : `It was changed ${ago(now)}, by somebody else. Nothing of yours has been written.`;
  return open(
    "The object has changed",
    (close) => [
      el("p", {}, intro),
      told(changes).map((each) => el("p", {}, each)),
      named_.map((each) =>
        compared(each.state_key, baseOf(each.state_key), found.entries[each.state_key], each.verb === "set" ? each.entry : null),
      ),
      others.length
        ? el("p", { class: "muted" }, `They also changed ${many(others.length, "other entry", "other entries")}: `, others.slice(0, 12).flatMap((each, at) => [at ? ", " : "", named(each, 40)]))
        : null,
      el(
        "dl",
        { class: "choices" },
        el("div", {}, el("dt", {}, button("Reload", () => close("reload"))), el("dd", {}, "drop yours and see theirs")),
        el("div", {}, el("dt", {}, button("Redo on top", () => close("redo"), { kind: "primary" })), el("dd", {}, "yours over what is there now; asked again if it changes meanwhile")),
        el("div", {}, el("dt", {}, button("Force", () => close("force"), { kind: "danger" })), el("dd", {}, "yours over whatever is there, unchecked")),
      ),
    ],
    { wide: true },
  );
}
