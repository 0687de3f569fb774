// Names as people can tell them apart: what does not show, or changes what shows, is spelled out.

import { el } from "./dom.js";

const HIDDEN = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u;
const PIECES = /([\p{C}\p{Z}\p{Default_Ignorable_Code_Point}])/u;
const LONGEST = 160;

/** A name as nodes, in an element of its own that keeps its direction to itself. */
export function named(name, limit = LONGEST) {
  const whole = el("bdi", { class: "name" });
  if (name === "") {
    whole.append(el("span", { class: "unseen" }, "empty"));
    return whole;
  }
  let shown = name;
  if (name.length > limit) {
    shown = [...name.slice(0, limit + 1)].slice(0, limit).join("");
  }
  const last = shown.length - 1;
  let at = 0;
  for (const piece of shown.split(PIECES)) {
    if (piece === "") continue;
    const plainBlank = piece === " " && at !== 0 && at !== last && shown[at - 1] !== " ";
    if (HIDDEN.test(piece) && !plainBlank && piece.length <= 2) {
      whole.append(el("span", { class: "unseen" }, spelled(piece)));
    } else {
      whole.append(piece);
    }
    at += piece.length;
  }
  if (shown.length < name.length) {
    whole.append(el("span", { class: "unseen" }, `… ${name.length.toLocaleString("en")} characters`));
  }
  return whole;
}

/** A name as plain text, for labels, titles and what must be typed. */
export function plain(name, limit = LONGEST) {
  if (name === "") return "(empty)";
  const text = [...name].map((each) => (each !== " " && HIDDEN.test(each) ? spelled(each) : each)).join("");
  return text.length > limit ? `${text.slice(0, limit)}…` : text;
}

/** Whether a person can type a name as it is. */
export function typable(name) {
  return name !== "" && name.length <= 200 && name === name.trim() && !HIDDEN.test(name.replaceAll(" ", ""));
}

function spelled(character) {
  if (character === " ") return "␣";
  const known = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
  if (known) return known;
  const code = character.codePointAt(0);
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\u{${code.toString(16)}}`;
}
