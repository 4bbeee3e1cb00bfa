
"use strict";
const OUTCOMES = ["hit", "revalidated", "stale", "stale-error", "miss", "bypass", "local"];
const byId = (id) => document.getElementById(id);
const none = (value) => value === null || value === undefined;

function count(value) {
  if (none(value)) return "–";
  if (value >= 1e9) return (value / 1e9).toFixed(2) + " G";
  if (value >= 1e6) return (value / 1e6).toFixed(2) + " M";
  if (value >= 1e4) return (value / 1e3).toFixed(1) + " k";
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}
function bytes(value) {
  if (none(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return (unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)) + " " + units[unit];
}
const percent = (value) => none(value) ? "–" : (value * 100).toFixed(value >= 0.9995 || value < 0.0005 ? 0 : 1) + " %";
function time(ms) {
  if (none(ms)) return ["–", ""];
  if (ms < 1) return [Math.round(ms * 1000), "µs"];
  return ms < 1000 ? [ms < 10 ? ms.toFixed(1) : Math.round(ms), "ms"] : [(ms / 1000).toFixed(2), "s"];
}
const inline = (ms) => time(ms).join(" ").trim();
function span(seconds) {
  const days = Math.floor(seconds / 86400), hours = Math.floor(seconds / 3600) % 24, minutes = Math.floor(seconds / 60) % 60;
  if (days) return days + " d " + hours + " h";
  return hours ? hours + " h " + minutes + " min" : minutes ? minutes + " min" : Math.floor(seconds) + " s";
}
function big(id, value, unit) {
  const place = byId(id), small = document.createElement("small");
  small.textContent = " " + unit;
  place.replaceChildren(String(value), small);
}
function pairs(id, rows) {
  byId(id).replaceChildren(...rows.flatMap(([name, value, kind]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    if (kind) dt.className = "d-" + kind;
    return [dt, dd];
  }));
}
function share(element, part) { element.style.width = (100 * part) + "%"; }

function line(svg, values, top) {
  const known = values.filter((value) => !none(value));
  const max = top || Math.max(...known, 1e-9) * 1.15, width = 180, height = 54;
  const runs = [];  // seconds without a value are gaps, not slopes
  values.forEach((value, index) => {
    if (none(value)) return;
    const x = width - (values.length - 1 - index), y = height - 3 - (height - 8) * Math.min(value / max, 1);
    if (index === 0 || none(values[index - 1])) runs.push([[x - 1, y]]);
    runs[runs.length - 1].push([x, y]);
  });
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  svg.setAttribute("preserveAspectRatio", "none");
  const draw = (kind, d) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
    element.setAttribute("class", kind);
    element.setAttribute("d", d);
    return element;
  };
  svg.replaceChildren(...runs.flatMap((points) => {
    const path = points.map(([x, y]) => x.toFixed(1) + " " + y.toFixed(1)).join(" L ");
    const first = points[0][0], last = points[points.length - 1][0];
    return [draw("area", "M " + first + " " + height + " L " + path + " L " + last + " " + height + " Z"), draw("stroke", "M " + path)];
  }));
}

function outcomes(total) {
  const all = Math.max(total.requests, 1), seen = OUTCOMES.filter((word) => total.outcomes[word]);
  byId("bar").replaceChildren(...seen.map((word) => {
    const part = document.createElement("span");
    part.className = "o-" + word;
    share(part, total.outcomes[word] / all);
    return part;
  }));
  pairs("outcomes", seen.map((word) => [word, count(total.outcomes[word]), word]));
}
function purges(rows) {
  byId("purges").replaceChildren(...(rows.length ? rows : [null]).map((purge) => {
    const tr = document.createElement("tr");
    const cells = purge
      ? [new Date(purge.at_ms).toLocaleTimeString(), purge.type, purge.mode, count(purge.count), purge.id]
      : ["none yet", "", "", "", ""];
    cells.forEach((text, index) => {
      const td = document.createElement("td");
      td.textContent = text;
      if (index === 3) td.className = "number";
      tr.append(td);
    });
    return tr;
  }));
}
function doors(stats) {
  const tls = stats.tls_handshakes, handshakes = tls.full + tls.resumed;
  const rows = stats.addresses.map((place) => [place.kind, place.address]);
  rows.push(["connections", count(stats.connections.active)], ["accepted", count(stats.connections.accepted)]);
  if (handshakes) rows.push(["TLS resumed", percent(tls.resumed / handshakes)]);
  if (stats.certificates.length) {
    const days = (Math.min(...stats.certificates.map((each) => each.not_after_s)) - Date.now() / 1000) / 86400;
    rows.push(["certificate valid", Math.floor(days) + " d"]);
  }
  if (stats.total.refused) rows.push(["requests refused", count(stats.total.refused)]);
  pairs("doors", rows);
}
function notice(stats) {
  const place = byId("notice");
  place.hidden = stats.config.success;
  if (!stats.config.success) place.textContent = "The last configuration was refused, the one before is in force: " + stats.config.error;
}

function show(stats) {
  const status = byId("status");
  status.textContent = stats.status === "ok" ? "serving" : stats.status;
  status.className = "pill " + (stats.status === "ok" ? "ok" : "bad");
  byId("node").textContent = stats.node;
  document.title = stats.node + " · Headland";
  notice(stats);
  if (!stats.now) return;
  const now = stats.now, [hit95, hitUnit] = time(now.hit_p95_ms), [miss95, missUnit] = time(now.miss_p95_ms);
  byId("facts").textContent = "version " + stats.version + ", up " + span(stats.uptime_s) + ", " + count(stats.total.requests) + " requests, " + bytes(stats.total.bytes) + " sent";
  big("rps", count(now.requests_per_s), "per second");
  byId("classes").textContent = Object.entries(stats.total.classes).sort().map(([name, value]) => count(value) + " " + name).join(", ") || "\u00a0";
  big("hit", percent(now.hit_ratio), none(now.hit_ratio) ? "" : "of requests");
  byId("bytehit").textContent = percent(now.byte_hit_ratio) + " of bytes";
  big("hit95", hit95, hitUnit + " p95");
  byId("hit50").textContent = inline(now.hit_p50_ms) + " p50";
  big("miss95", miss95, missUnit + " p95");
  byId("miss50").textContent = inline(now.miss_p50_ms) + " p50";
  document.querySelectorAll(".line").forEach((svg) => line(svg, stats.series[svg.dataset.series], Number(svg.dataset.max) || 0));
  outcomes(stats.total);
  share(byId("fill"), stats.store.bytes / Math.max(stats.store.capacity_bytes, 1));
  pairs("store", [["objects", count(stats.store.objects)], ["used", bytes(stats.store.bytes)], ["of", bytes(stats.store.capacity_bytes)], ["evicted", count(stats.store.evictions)], ["fills running", count(stats.store.fills)]]);
  const origin = stats.origin;
  pairs("origin", [["requests", count(origin.requests)], ["reused connections", percent(origin.reuse_ratio)], ["open, idle", count(origin.open) + ", " + count(origin.idle)], ["first byte p50, p95", inline(origin.p50_ms) + ", " + inline(origin.p95_ms)], ["bytes saved", percent(origin.offload)], ["errors", count(origin.errors)]]);
  doors(stats);
  purges(stats.purges || []);
}

let token = "";
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = event.target.elements.token.value;
  poll();
});
async function poll() {
  try {
    const response = await fetch("/v1/stats", {cache: "no-store", headers: token ? {Authorization: "Bearer " + token} : {}});
    byId("ask").hidden = response.status !== 401;
    if (response.status === 401) {
      byId("status").textContent = token ? "wrong token" : "needs a token";
      byId("status").className = "pill bad";
      return;
    }
    if (!response.ok) throw new Error("status " + response.status);
    show(await response.json());
  } catch (error) {
    const status = byId("status");
    status.textContent = "no answer";
    status.className = "pill bad";
  }
  setTimeout(poll, document.hidden ? 5000 : 1000);
}
poll();
