// The keyboard: what each key does, and the help that lists it.

import { button, el } from "./dom.js";
import { open } from "./dialogs.js";
import { walk } from "./rows.js";

const HELP = [
  ["/", "search"],
  ["j ↓", "next in the list"],
  ["k ↑", "previous in the list"],
  ["Enter", "open"],
  ["Esc", "close, go up"],
  ["e", "edit the open entry"],
  ["c", "copy the open value"],
  ["a", "add an object or an entry"],
  ["Ctrl+Enter", "save what is being edited"],
  ["1", "services"],
  ["2", "storage"],
  ["t", "light or dark"],
  ["?", "this help"],
];

/** Show what the keys do. */
export function help() {
  return open("Keys", (close) => [
    el("dl", { class: "keys" }, HELP.map(([key, what]) => el("div", {}, el("dt", {}, key.split(" ").flatMap((each, at) => [at ? " " : "", el("kbd", {}, each)])), el("dd", {}, what)))),
    el("div", { class: "actions" }, button("Close", () => close(), { "data-first": true })),
  ]);
}

function typing(target) {
  return Boolean(target.closest?.("input, textarea, select"));
}

/** Listen. `page`: view(), go(), escape(), theme(). */
export function listen(page) {
  const keys = {
    j: () => walk(1),
    ArrowDown: () => walk(1),
    k: () => walk(-1),
    ArrowUp: () => walk(-1),
    1: () => page.go("#/services"),
    2: () => page.go("#/storage"),
    t: () => page.theme(),
    "?": () => help(),
    Escape: () => page.escape(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key.startsWith("Arrow") && event.target.closest("pre")) return;
    const act = page.view()?.keys?.[event.key] ?? keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
