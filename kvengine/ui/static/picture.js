// Levels and segments drawn to scale: one pixel is the same number of bytes everywhere.

import { svg } from "./dom.js";
import { bytes, many } from "./format.js";

const LEAST = 240;
const ROW = 30;
const STEP = 60;

/** The drawing. `running`: numbers of segments being compacted; `choose(number)` for a click. */
export function picture({ stats, segments, running, chosen, choose, room }) {
  const wide = Math.max(LEAST, Math.floor(room));
  const memory = { title: "Memory", bytes: stats.memtable_bytes, note: stats.frozen_memtables ? `, ${many(stats.frozen_memtables, "frozen memtable")}` : "" };
  const levels = stats.levels.filter((level) => level.segments > 0 || level.level === 0);
  const most = Math.max(1, memory.bytes, ...levels.map((level) => level.bytes));
  const scale = wide / most;
  const height = STEP * (levels.length + 1) - 10;
  const label = `${many(segments.length, "segment")} in ${many(levels.length, "level")}, drawn to scale`;
  const drawn = svg("svg", { viewBox: `0 0 ${wide} ${height}`, role: "group", "aria-label": label, class: "levels" });
  band(drawn, wide, 0, memory.title, `${bytes(memory.bytes)}${memory.note}`);
  if (memory.bytes) drawn.append(svg("rect", { x: 0, y: 18, width: Math.max(2, memory.bytes * scale), height: ROW, class: "memory", rx: 2 }));
  levels.forEach((level, at) => {
    const top = STEP * (at + 1);
    band(drawn, wide, top, `Level ${level.level}`, `${many(level.segments, "segment")}, ${bytes(level.bytes)}`);
    let x = 0;
    for (const one of segments.filter((each) => each.level === level.level)) {
      const width = one.size * scale;
      drawn.append(block(one, x, top + 18, width, { busy: running.includes(one.number), chosen: one.number === chosen, choose }));
      x += width;
    }
  });
  return drawn;
}

function band(drawn, wide, top, title, note) {
  drawn.append(
    svg("text", { x: 0, y: top + 12, class: "level" }, title),
    svg("text", { x: wide, y: top + 12, class: "level-note", "text-anchor": "end" }, note),
    svg("rect", { x: 0, y: top + 18, width: wide, height: ROW, class: "track", rx: 2 }),
  );
}

function block(one, x, y, width, { busy, chosen, choose }) {
  const text = `Segment ${one.number}, ${bytes(one.size)}, ${many(one.objects, "object")}${busy ? ", being compacted" : ""}`;
  const pick = () => choose(one.number);
  const shape = svg(
    "rect",
    {
      x,
      y,
      width: Math.max(2, width - Math.min(1.5, width / 4)),
      height: ROW,
      rx: 2,
      class: `segment l${Math.min(one.level, 4)}${busy ? " busy" : ""}${chosen ? " chosen" : ""}`,
      tabindex: "0",
      role: "button",
      "aria-label": text,
      "aria-pressed": String(chosen),
      "data-segment": one.number,
      on: {
        click: pick,
        keydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          event.stopPropagation();
          pick();
        },
      },
    },
    svg("title", {}, text),
  );
  return shape;
}
