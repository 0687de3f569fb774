// What changed between two texts, by lines.

const MOST = 2_000_000;

/** Lines of `after` and `before` in order, each `{ mark, text }`: " " both, "+" new, "-" gone. */
export function diff(before, after) {
  const old = before === null ? [] : before.split("\n");
  const now = after === null ? [] : after.split("\n");
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const keep = (text) => ({ mark: " ", text });
  return [
    ...old.slice(0, head).map(keep),
    ...middle(old.slice(head, old.length - tail), now.slice(head, now.length - tail)),
    ...old.slice(old.length - tail).map(keep),
  ];
}

function middle(old, now) {
  const gone = (text) => ({ mark: "-", text });
  const added = (text) => ({ mark: "+", text });
  if (old.length * now.length > MOST) return [...old.map(gone), ...now.map(added)];
  const common = Array.from({ length: old.length + 1 }, () => new Uint32Array(now.length + 1));
  for (let a = old.length - 1; a >= 0; a -= 1) {
    for (let b = now.length - 1; b >= 0; b -= 1) {
      common[a][b] = old[a] === now[b] ? common[a + 1][b + 1] + 1 : Math.max(common[a + 1][b], common[a][b + 1]);
    }
  }
  const lines = [];
  let a = 0;
  let b = 0;
  while (a < old.length && b < now.length) {
    if (old[a] === now[b]) {
      lines.push({ mark: " ", text: old[a] });
      a += 1;
      b += 1;
    } else if (common[a + 1][b] >= common[a][b + 1]) {
      lines.push(gone(old[a]));
      a += 1;
    } else {
      lines.push(added(now[b]));
      b += 1;
    }
  }
  return [...lines, ...old.slice(a).map(gone), ...now.slice(b).map(added)];
}
