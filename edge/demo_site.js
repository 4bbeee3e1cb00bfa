"use strict";
const field = (response, name) => response.headers.get(name);
function words(response) {
  const status = field(response, "cache-status") || "";
  if (!status) return ["no node in between", true];
  const stored = /;\s*hit/.test(status);
  return [stored ? "from the node's cache" : "from the origin", !stored];
}
async function ask(path, options) {
  const before = performance.now();
  const response = await fetch(path, Object.assign({cache: "no-store"}, options));
  const first = performance.now() - before;
  return [response, first];
}
const span = (ms) => ms < 10 ? ms.toFixed(1) + " ms" : ms < 1000 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(2) + " s";
async function see() {
  const bar = document.querySelector("#seen > div");
  try {
    const [response, first] = await ask(location.href, {method: "HEAD"});
    const [text, asked] = words(response);
    const b = document.createElement("b"), facts = document.createElement("span"), code = document.createElement("code");
    b.textContent = "This page: " + text;
    b.className = asked ? "asked" : "";
    const age = field(response, "age");
    facts.textContent = (age === null ? "" : "stored " + age + " s ago, ") + "answered in " + span(first);
    code.textContent = field(response, "cache-status") || "";
    bar.replaceChildren(b, facts, code);
  } catch (error) {
    bar.textContent = "The page could not be asked for again: " + error.message;
  }
}
async function tryOut(card) {
  const out = card.querySelector("output");
  out.textContent = "asking…";
  try {
    const [response, first] = await ask(card.dataset.path, {method: card.dataset.method || "GET"});
    const whole = performance.now();
    const size = (await response.arrayBuffer()).byteLength;
    const rest = performance.now() - whole;
    const age = field(response, "age"), proxy = field(response, "proxy-status");
    out.textContent = [
      response.status + ", " + size.toLocaleString("en") + " bytes, first byte " + span(first) + (rest > 50 ? ", rest " + span(rest) : "") + (age === null ? "" : ", age " + age + " s"),
      field(response, "cache-status") || "no Cache-Status", proxy || "",
    ].filter(Boolean).join("\n");
  } catch (error) {
    out.textContent = "broken off: " + error.message;
  }
}
document.querySelectorAll(".try").forEach((card) => card.querySelector("button").addEventListener("click", () => tryOut(card)));
document.querySelectorAll("[data-again]").forEach((button) => button.addEventListener("click", see));
see();
