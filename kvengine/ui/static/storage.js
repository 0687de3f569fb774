// Where the bytes are: levels and segments as a picture, and the figures of the engine.

import { read } from "./api.js";
import { el, put } from "./dom.js";
import { bytes, exact, many, number, timeOf, when } from "./format.js";
import { picture } from "./picture.js";

export async function view(place) {
  const state = { tag: null, chosen: null, data: null, room: 0 };
  const drawing = el("div", { class: "drawing" });
  const detail = el("div", { class: "detail" });
  const figures = el("div", { class: "figures" });
  const alarms = el("div", { class: "alarms", role: "status" });
  put(place, el("div", { class: "title" }, el("h1", {}, "Storage")), alarms, drawing, detail, figures);

  async function load(tag = null) {
    const { data, tag: now } = await read("storage", {}, { tag });
    if (data === null) return;
    state.tag = now;
    state.data = data;
    show();
  }

  function show() {
    if (state.data === null) return;
    const { stats, segments, segments_left_out: leftOut } = state.data;
    const running = stats.running.filter((job) => job.kind === "compaction").flatMap((job) => job.inputs);
    if (!segments.some((each) => each.number === state.chosen)) state.chosen = null;
    const focused = drawing.contains(document.activeElement) ? document.activeElement.dataset.segment : null;
    const choose = (chosen) => {
      state.chosen = chosen;
      show();
    };
    if (state.data.mode === "server") {
      drawing.hidden = true;
      put(figures, cards(server(stats)));
      return;
    }
    put(drawing, picture({ stats, segments, running, chosen: state.chosen, choose, room: state.room }), leftOut ? el("p", { class: "muted" }, `${many(leftOut, "segment")} more are not drawn.`) : null);
    if (focused) drawing.querySelector(`[data-segment="${focused}"]`)?.focus();
    put(detail, described(segments.find((each) => each.number === state.chosen) ?? null, segments.length));
    put(alarms, alarming(stats).map((text) => el("p", { class: "alarm" }, text)));
    put(figures, cards(groups(stats)));
  }

  new ResizeObserver(([{ contentRect }]) => {
    if (Math.floor(contentRect.width) === state.room) return;
    state.room = Math.floor(contentRect.width);
    show();
  }).observe(drawing);
  await load();
  return { title: "Storage", crumbs: [["Storage"]], refresh: () => load(state.tag), every: 1, always: true, keys: {} };
}

function cards(groups) {
  return groups.map(([title, rows]) => el("section", { class: "card" }, el("h2", {}, title), el("dl", {}, rows.map(([what, value, hint]) => el("div", { title: hint }, el("dt", {}, what), el("dd", {}, value))))));
}

function server(stats) {
  return [
    [
      "On the server",
      [
        ["Tables", bytes(stats.bytes_on_disk), "With their indexes, and with what is dead and not vacuumed yet"],
        ["Objects", `≈ ${number(stats.estimated_objects)}`, "As of the last ANALYZE; pg_stat_user_tables has what else the server counts"],
      ],
    ],
  ];
}

function described(one, count) {
  if (one === null) return count ? el("p", { class: "muted" }, "Choose a segment to see what it holds.") : null;
  const facts = [
    ["Size", bytes(one.size)],
    ["Objects", number(one.objects)],
    ["Entries", number(one.entries)],
    ["Tombstones", number(one.tombstones)],
    ["Expiring", number(one.expiring)],
    ["Newest", when(timeOf(one.last_stamp)), exact(timeOf(one.last_stamp))],
    ["Oldest", when(timeOf(one.first_stamp)), exact(timeOf(one.first_stamp))],
  ];
  return el(
    "section",
    { class: "card wide" },
    el("h2", {}, `Segment ${one.number}, level ${one.level}`),
    el("dl", { class: "across" }, facts.map(([what, value, hint]) => el("div", { title: hint }, el("dt", {}, what), el("dd", {}, value)))),
    el("p", { class: "bounds" }, "from ", el("code", {}, one.start), " to before ", el("code", {}, one.stop)),
  );
}

function alarming(stats) {
  const found = [];
  if (stats.stalled) found.push(`Writers wait: ${stats.stalled}`);
  if (stats.background_errors) found.push(`Background work failed ${many(stats.background_errors, "time")}: ${stats.last_background_error}`);
  for (const note of stats.recovery) found.push(`Recovery: ${note}`);
  if (stats.live_access.startsWith("failed")) found.push(`Live access ${stats.live_access}`);
  return found;
}

function groups(stats) {
  const jobs = stats.running.map((job) => `${job.kind} of ${bytes(job.bytes)} into level ${job.level}`);
  const last = timeOf(stats.last_stamp);
  return [
    [
      "In memory",
      [
        ["Memtable", `${bytes(stats.memtable_bytes)}, ${many(stats.memtable_objects, "object")}`, "What is not flushed yet; bytes as in the WAL"],
        ["Frozen memtables", number(stats.frozen_memtables), "They await their flush"],
        ["Cache", `${bytes(stats.cache_bytes)}, ${many(stats.cache_objects, "object")}`, "Hot objects, kept decoded"],
        ["Open snapshots", number(stats.open_snapshots), "Iterators count; one that stays for long keeps files"],
      ],
    ],
    [
      "On disk",
      [
        ["Directory", bytes(stats.bytes_on_disk), "All of its files"],
        ["Segments", `${number(stats.segments)}, ${bytes(stats.levels.reduce((sum, level) => sum + level.bytes, 0))}`, null],
        ["WAL", bytes(stats.wal_bytes), "Not flushed yet"],
        ["Objects", `≈ ${number(stats.estimated_objects)}`, "Roughly: rows of the fullest level, or of the memtables"],
      ],
    ],
    [
      "Background",
      [
        ["Now", jobs.length ? jobs.join("; ") : "idle", `background="${stats.background}"`],
        ["To be compacted", bytes(stats.pending_compaction), "About; growing for long: writers are ahead of the medium"],
        ["Flushes, compactions", `${number(stats.flushes)}, ${number(stats.compactions)}`, "Since open"],
        ["Dropped unread", many(stats.dropped_segments, "segment"), "Expired as a whole, since open"],
      ],
    ],
    [
      "Writing",
      [
        ["Commits, syncs", `${number(stats.commits)}, ${number(stats.syncs)}`, "Since open; their ratio is the size of the groups"],
        ["Last commit", stats.last_stamp === "0" ? "none" : when(last), stats.last_stamp === "0" ? null : exact(last)],
        ["Amplification", `${stats.write_amplification.toFixed(2)} write, ${stats.space_amplification.toFixed(2)} space`, "Bytes written over those of the WAL; bytes of segments over those of the lowest level"],
        ["Stalls", `${number(stats.stalls)}, ${stats.stall_seconds.toFixed(1)} s`, "Writers that waited for background work, since open"],
      ],
    ],
  ];
}
