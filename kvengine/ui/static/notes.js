// What the page tells without being asked: toasts that go by themselves, and copying.

import { el } from "./dom.js";

const STAY = 6000;

/** Say something for a few seconds. `kind`: "good", "bad" or "". Errors stay until closed. */
export function toast(text, kind = "") {
  const close = el("button", { type: "button", class: "close", "aria-label": "Close this message" }, "×");
  const shown = el("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : null }, el("span", {}, text), close);
  const end = () => shown.remove();
  close.addEventListener("click", end);
  const place = document.getElementById("toasts");
  while (place.children.length > 3) place.firstChild.remove();
  place.append(shown);
  if (kind !== "bad") setTimeout(end, STAY);
}

/** Say why something failed. */
export function failed(error) {
  if (error.name === "AbortError" || error.status === 401) return;
  toast(error.message, "bad");
}

/** Put a text on the clipboard, and say so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`, "good");
  } catch {
    toast("This browser does not let the page copy.", "bad");
  }
}
