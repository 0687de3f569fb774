// Showing a value: as JSON laid out and coloured, as text, or as a dump.

import { el } from "./dom.js";
import { dump, textOf } from "./bytes.js";
import { NotJson, laidOut } from "./json_text.js";

const COLOURED = 200_000;

/** The ways to see these bytes, best first: "json", "text", "hex". */
export function ways(entry, bytes) {
  const text = textOf(bytes);
  if (text === null) return ["hex"];
  if (entry.type === "json" && isJson(text)) return ["json", "text", "hex"];
  return ["text", "hex"];
}

function isJson(text) {
  try {
    return laidOut(text).length > 0;
  } catch (error) {
    if (error instanceof NotJson) return false;
    throw error;
  }
}

/** A node that shows the bytes in one of the ways. */
export function shown(bytes, way) {
  const box = el("pre", { class: `value ${way}`, tabindex: "0", "aria-label": `Value as ${way}` });
  if (way === "hex") {
    box.append(bytes.length ? dump(bytes) : el("span", { class: "muted" }, "no bytes"));
  } else if (way === "text") {
    box.append(bytes.length ? textOf(bytes) : el("span", { class: "muted" }, "an empty value"));
  } else {
    const text = textOf(bytes);
    const pieces = laidOut(text);
    if (text.length > COLOURED) box.append(pieces.map((each) => each.text).join(""));
    else box.append(...pieces.map(coloured));
  }
  return box;
}

function coloured({ kind, text }) {
  return ["key", "string", "number", "word"].includes(kind) ? el("span", { class: `j-${kind}` }, text) : text;
}
