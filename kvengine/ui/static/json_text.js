// JSON as text: checked, laid out and packed without ever becoming numbers of JavaScript, which
// would round those past 53 bits, and without dropping members that come twice.

const TOKEN = /[ \t\n\r]*(?:([{}[\]:,])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9.]))|(true|false|null)(?![a-z]))/y;

/** Why a text is no JSON, and where. */
export class NotJson extends Error {
  constructor(reason, text, at) {
    const before = text.slice(0, at).split("\n");
    super(`Line ${before.length}, column ${before.at(-1).length + 1}: ${reason}.`);
  }
}

/**
 * The tokens of a JSON text in order, each `{ kind, text }`; kind is the sign itself, "key",
 * "string", "number" or "word". Throws NotJson.
 */
export function tokens(text) {
  const found = [];
  const open = [];
  let wanted = "value";
  let at = 0;
  for (;;) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) break;
    const begin = TOKEN.lastIndex - match[0].trimStart().length;
    const [, sign, string, number, word] = match;
    const kind = sign ?? (string !== undefined ? "string" : number !== undefined ? "number" : "word");
    const next = step(kind, wanted, open);
    if (next === null) throw new NotJson(expectation(wanted, open), text, begin);
    const isKey = kind === "string" && (wanted === "key" || wanted === "first key");
    found.push({ kind: isKey ? "key" : kind, text: sign ?? string ?? number ?? word });
    wanted = next;
    at = TOKEN.lastIndex;
  }
  const rest = text.slice(at).match(/^[ \t\n\r]*/)[0].length + at;
  if (rest < text.length) {
    throw new NotJson(wanted === "end" ? "nothing may follow the value" : trouble(text, rest, wanted, open), text, rest);
  }
  if (wanted !== "end") throw new NotJson(`it ends where ${expectation(wanted, open)}`, text, rest);
  return found;
}

function trouble(text, at, wanted, open) {
  return text[at] === '"' ? "a string that does not end, or holds a control character or a wrong escape" : expectation(wanted, open);
}

function closed(open) {
  open.pop();
  return open.length ? "comma" : "end";
}

/** What may follow a token of `kind` where `wanted` was expected; null where it may not stand. */
function step(kind, wanted, open) {
  if (kind === "]" && open.at(-1) === "[" && (wanted === "comma" || wanted === "first item")) return closed(open);
  if (kind === "}" && open.at(-1) === "{" && (wanted === "comma" || wanted === "first key")) return closed(open);
  if (kind === ",") return wanted !== "comma" ? null : open.at(-1) === "{" ? "key" : "value";
  if (kind === ":") return wanted === "colon" ? "value" : null;
  if (wanted === "key" || wanted === "first key") return kind === "string" ? "colon" : null;
  if (wanted !== "value" && wanted !== "first item") return null;
  if (kind === "{" || kind === "[") {
    open.push(kind);
    return kind === "{" ? "first key" : "first item";
  }
  if (kind === "]" || kind === "}") return null;
  return open.length ? "comma" : "end";
}

function expectation(wanted, open) {
  if (wanted === "end") return "nothing may follow the value";
  if (wanted === "comma") return `a comma or ${open.at(-1) === "{" ? "}" : "]"} is due`;
  if (wanted === "colon") return "a colon is due";
  if (wanted === "key" || wanted === "first key") return "a name in double quotes is due";
  return "a value is due";
}

/** The same JSON without blanks. */
export function packed(text) {
  return tokens(text).map((each) => each.text).join("");
}

/** The tokens laid out: pieces `{ kind, text }`, blanks among them with kind "blank". */
export function laidOut(text) {
  const found = tokens(text);
  const pieces = [];
  let depth = 0;
  const line = () => pieces.push({ kind: "blank", text: `\n${"  ".repeat(depth)}` });
  found.forEach((token, at) => {
    const closes = token.kind === "]" || token.kind === "}";
    const empty = closes && "[{".includes(found[at - 1].kind);
    if (closes) {
      depth -= 1;
      if (!empty) line();
    }
    pieces.push(token);
    const next = found[at + 1]?.kind;
    if (token.kind === "[" || token.kind === "{") {
      depth += 1;
      if (next !== "]" && next !== "}") line();
    } else if (token.kind === ",") {
      line();
    } else if (token.kind === ":") {
      pieces.push({ kind: "blank", text: " " });
    }
  });
  return pieces;
}

/** The same JSON over lines, for people. */
export function pretty(text) {
  return laidOut(text).map((each) => each.text).join("");
}
