"use strict";
// Asks for data.json once an interval and draws it. No library, nothing from elsewhere.
const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 8, TOP = 14, BOTTOM = 20;
const at = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const amount = (rate) => (rate >= 100 ? whole : fine).format(rate);
const grouped = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");
const cursors = {};
let last = null;

function node(parent, name, attributes, text) {
  const made = parent.namespaceURI === SVG
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// A ceiling of 1, 2 or 5 times a power of ten, so that the scale has round figures.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((step) => step * power).find((one) => one >= value) || 1;
}

function chart(id, times, values, unit) {
  const svg = at(id), width = svg.clientWidth, height = svg.clientHeight;
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const most = ceiling(Math.max(...values, 0)), low = height - BOTTOM;
  const begin = times[0] || 0, end = times[times.length - 1] || 1;
  const x = (t) => LEFT + ((t - begin) / (end - begin || 1)) * (width - LEFT - RIGHT);
  const y = (v) => low - (v / most) * (low - TOP);
  for (const part of [0, 0.5, 1]) {
    node(svg, "line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(part * most), y2: y(part * most) });
    node(svg, "text", { x: LEFT - 8, y: y(part * most) + 4, "text-anchor": "end" }, scale(part * most, most));
  }
  node(svg, "text", { x: LEFT, y: height - 4 }, ago(end - begin));
  node(svg, "text", { x: width - RIGHT, y: height - 4, "text-anchor": "end" }, "now");
  if (values.length < 2) return;
  const points = values.map((v, n) => `${x(times[n]).toFixed(1)},${y(v).toFixed(1)}`);
  node(svg, "polygon", { class: "area", points: `${x(begin)},${low} ${points.join(" ")} ${x(end)},${low}` });
  node(svg, "polyline", { class: "line", points: points.join(" ") });
  const share = cursors[id];
  let n = values.length - 1;
  if (share !== undefined) {
    const t = begin + share * (end - begin);
    n = times.reduce((best, one, k) => (Math.abs(one - t) < Math.abs(times[best] - t) ? k : best), 0);
    node(svg, "line", { class: "cursor", x1: x(times[n]), x2: x(times[n]), y1: TOP, y2: low });
  }
  node(svg, "circle", { class: "dot", cx: x(times[n]), cy: y(values[n]), r: 3 });
  const edge = x(times[n]) > width - 130 ? "end" : "start";
  const when = share === undefined ? "" : `, ${ago(end - times[n])}`;
  node(svg, "text", { class: "value", x: x(times[n]) + (edge === "end" ? -6 : 6), y: Math.max(TOP - 2, y(values[n]) - 7), "text-anchor": edge }, `${unit(values[n])}${when}`);
}

// The figures of one scale are of one unit.
function scale(value, most) {
  const [size, unit] = most >= 1e6 ? [1e6, " M"] : most >= 1e4 ? [1e3, " k"] : [1, ""];
  return value ? `${Number((value / size).toPrecision(3))}${unit}` : "0";
}

function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  return `${Math.round(seconds / 60)} min ago`;
}

function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const n = units.findIndex(([, size]) => seconds >= size);
  if (n < 0) return "0 s";
  const [name, size] = units[n], rest = units[n + 1];
  const more = rest && Math.floor((seconds % size) / rest[1]);
  return `${Math.floor(seconds / size)} ${name}${more ? ` ${more} ${rest[0]}` : ""}`;
}

function rows(id, list, cells, empty) {
  const body = at(id).tBodies[0];
  body.replaceChildren();
  for (const one of list) {
    const row = node(body, "tr", {});
    for (const [text, name] of cells(one)) {
      const cell = node(row, "td", name ? { class: name } : {}, name === "bar" ? "" : text);
      if (name === "bar") node(cell, "i", {}).style.width = `${text}%`;
      else cell.title = text;
    }
  }
  if (!list.length) node(node(body, "tr", {}), "td", { class: "empty", colspan: 4 }, empty);
}

function draw({ look, history, hides_ids: hides }) {
  at("server").textContent = [look.server, look.software, look.role,
    look.uptime === null ? "" : `up ${span(look.uptime)}`].filter(Boolean).join(" · ");
  const state = at("state");
  state.textContent = look.trouble || "answers";
  state.className = look.trouble ? "bad" : "good";
  const tiles = [
    ["commands a second", amount(look.per_second)],
    ["round trip", `${(look.latency * 1e3).toFixed(2)} ms`],
    ["seqcache connections", look.links === null ? "–" : whole.format(look.links)],
    ["connections", look.clients === null ? "–" : whole.format(look.clients)],
    ["memory", look.memory === null ? "–" : `${fine.format(look.memory / 2 ** 20)} MB`],
    ["keys in the database", look.keys === null ? "–" : whole.format(look.keys)],
  ];
  at("tiles").replaceChildren();
  for (const [name, value] of tiles) {
    const tile = node(at("tiles"), "div", {});
    node(tile, "b", {}, value);
    node(tile, "span", {}, name);
  }
  chart("rate", history.time, history.per_second, (v) => `${amount(v)}/s`);
  chart("latency", history.time, history.latency.map((s) => s * 1e3), (v) => `${v.toFixed(2)} ms`);
  const most = Math.max(...look.ids.map((one) => one.per_second), 1e-9);
  rows("ids", look.ids, (one) => [[one.id], [grouped(one.seq)], [amount(one.per_second)],
    [(100 * one.per_second) / most, "bar"]], hides ? "ids are hidden here" : "no id moves");
  rows("commands", look.commands, (one) => [[one.name], [amount(one.per_second)],
    [fine.format(one.usec)], [one.failed_per_second ? amount(one.failed_per_second) : "", one.failed_per_second ? "bad" : ""]],
    "nothing runs, or the server does not tell");
  const back = look.back.length ? ` ${whole.format(look.back.length)} went back: the server lost numbers.` : "";
  at("foot").textContent = look.foot + "." + back;
  at("foot").classList.toggle("bad", look.back.length > 0);
}

async function turn() {
  let wait = 1;
  try {
    const answer = await fetch("data.json", { cache: "no-store" });
    last = await answer.json();
    wait = last.interval;
    draw(last);
  } catch (error) {
    at("state").textContent = "this page's process does not answer";
    at("state").className = "bad";
  }
  setTimeout(turn, 1000 * Math.max(wait, 0.25));
}

for (const id of ["rate", "latency"]) {
  at(id).addEventListener("pointermove", (event) => {
    const width = at(id).clientWidth - LEFT - RIGHT;
    cursors[id] = Math.min(1, Math.max(0, (event.offsetX - LEFT) / width));
    if (last) draw(last);
  });
  at(id).addEventListener("pointerleave", () => { delete cursors[id]; if (last) draw(last); });
}
addEventListener("resize", () => { if (last) draw(last); });
turn();
