// Numbers and times for people.

const count = new Intl.NumberFormat("en");
const UNITS = ["KiB", "MiB", "GiB", "TiB"];

export function number(value) {
  return count.format(value);
}

/** `1 entry`, `2 entries`. */
export function many(value, one, more = `${one}s`) {
  return `${count.format(value)} ${value === 1 ? one : more}`;
}

export function bytes(value) {
  if (value < 1024) return `${value} B`;
  let size = value;
  let unit = -1;
  do {
    size /= 1024;
    unit += 1;
  } while (size >= 1023.95 && unit < UNITS.length - 1);
  return `${size < 10 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

const STEPS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86400, 3600, "h"],
  [86400 * 60, 86400, "d"],
];

function span(seconds) {
  for (const [below, unit, name] of STEPS) {
    if (seconds < below) return `${Math.floor(seconds / unit)} ${name}`;
  }
  const years = seconds / 31557600;
  return years < 2 ? `${Math.floor(seconds / 2629800)} months` : `${Math.floor(years)} years`;
}

/** Seconds since the epoch as distance from now: `5 min ago`, `in 2 h`. */
export function when(seconds) {
  const away = seconds - Date.now() / 1000;
  if (Math.abs(away) < 1) return "now";
  return away < 0 ? `${span(-away)} ago` : `in ${span(away)}`;
}

/** The whole of a time, in UTC; the bare number where it is out of any calendar. */
export function exact(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString().replace("T", " ").replace("Z", " UTC");
}

/** Seconds since the epoch of a version, which is a string of microseconds. */
export function timeOf(version) {
  return Number(BigInt(version) / 1000n) / 1000;
}
