// Values are bytes. The three ways to see and type them: text, JSON as text, hexadecimal.

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The bytes of an entry as the server gave it; null where it was left out. */
export function bytesOf(entry) {
  if (entry.text !== undefined) return encoder.encode(entry.text);
  if (entry.base64 === undefined) return null;
  return Uint8Array.from(atob(entry.base64), (each) => each.charCodeAt(0));
}

/** An entry's form for the server: text where it is UTF-8, else base64. */
export function formOf(bytes) {
  const text = textOf(bytes);
  if (text !== null) return { text };
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return { base64: btoa(binary) };
}

/** Text, or null for bytes that are no UTF-8. */
export function textOf(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}

export function ofText(text) {
  return encoder.encode(text);
}

export function same(one, other) {
  return one !== null && other !== null && one.length === other.length && one.every((each, at) => each === other[at]);
}

const hex = (value, width) => value.toString(16).padStart(width, "0");

/** A dump: offset, sixteen bytes, and those of them that are plain ASCII. */
export function dump(bytes, most = 16384) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, most); at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const shown = row.map((each) => hex(each, 2)).join(" ").padEnd(47);
    const ascii = row.map((each) => (each > 31 && each < 127 ? String.fromCharCode(each) : "·")).join("");
    lines.push(`${hex(at, 6)}  ${shown}  ${ascii}`);
  }
  if (bytes.length > most) lines.push(`… ${(bytes.length - most).toLocaleString("en")} more bytes`);
  return lines.join("\n");
}

/** Hexadecimal to be edited: sixteen bytes a line. */
export function toHex(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    lines.push([...bytes.subarray(at, at + 16)].map((each) => hex(each, 2)).join(" "));
  }
  return lines.join("\n");
}

/** The bytes that hexadecimal says, blanks left out; throws an Error that says what is wrong. */
export function ofHex(text) {
  const digits = text.replace(/\s+/g, "");
  const wrong = /[^0-9a-fA-F]/.exec(digits);
  if (wrong) throw new Error(`“${wrong[0]}” is no hexadecimal digit.`);
  if (digits.length % 2) throw new Error("Hexadecimal takes two digits for each byte; one is missing.");
  const bytes = new Uint8Array(digits.length / 2);
  for (let at = 0; at < bytes.length; at += 1) {
    bytes[at] = Number.parseInt(digits.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}
