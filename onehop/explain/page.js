"use strict";
// Draws the chosen layer and head of every sentence, and shows what the word under the pointer reads.
(() => {
  const data = JSON.parse(document.getElementById("weights").textContent);
  const layer = document.getElementById("layer"), head = document.getElementById("head");
  const SVG = "http://www.w3.org/2000/svg";
  const decoded = new Map();

  // Weights of one part and layer: heads x rows x columns bytes, 255 for 1.
  const bytes = (part, name) => {
    const key = part + "/" + name;
    if (!decoded.has(key)) decoded.set(key, Uint8Array.from(atob(data.parts[part][name]), c => c.charCodeAt(0)));
    return decoded.get(key);
  };
  const weights = (part, name, rows, columns) => {
    const all = bytes(part, name), size = rows * columns, heads = size ? all.length / size : 0;
    if (head.value !== "mean") return i => all[Number(head.value) * size + i] / 255;
    return i => { let sum = 0; for (let h = 0; h < heads; h++) sum += all[h * size + i]; return sum / heads / 255; };
  };
  const texts = (part, side) => [...part.querySelectorAll("." + side + " .word")].map(word => word.dataset.text);
  const kind = name => name.startsWith("encoder") ? "read" : name.endsWith("cross") ? "cross" : "written";

  const sides = { cross: ["written", "read"], read: ["read", "read"], written: ["written", "written"] };
  const draw = part => {
    const name = layer.value, number = part.dataset.part, chosen = kind(name);
    for (const figure of part.querySelectorAll("figure")) figure.hidden = figure.dataset.kind !== chosen;
    const figure = part.querySelector(`figure[data-kind="${chosen}"]`);
    if (!figure) return;
    const rows = texts(part, sides[chosen][0]), columns = texts(part, sides[chosen][1]);
    const weight = weights(number, name, rows.length, columns.length);
    const cells = figure.querySelector(".cells"), { left, top, cell } = cells.dataset;
    const title = `${name}, ${head.value === "mean" ? "mean of heads" : "head " + (Number(head.value) + 1)}`;
    figure.querySelector(".name").textContent = title;
    figure.querySelector("svg > title").textContent = title;
    const fresh = document.createDocumentFragment();
    rows.forEach((row, t) => columns.forEach((column, s) => {
      const share = weight(t * columns.length + s);
      if (share < 0.005) return;
      const rect = document.createElementNS(SVG, "rect"), told = document.createElementNS(SVG, "title");
      const place = { x: +left + s * cell + 1, y: +top + t * cell + 1, width: cell - 2, height: cell - 2, rx: 2,
        fill: "var(--heat)", "fill-opacity": share.toFixed(2) };
      for (const key in place) rect.setAttribute(key, place[key]);
      told.textContent = `${row}, ${column}: ${Math.round(100 * share)} %`;
      rect.append(told);
      fresh.append(rect);
    }));
    cells.replaceChildren(fresh);
  };

  const heads = () => {
    const count = data.heads[layer.value], before = head.value;
    head.replaceChildren(new Option("mean of heads", "mean"), ...Array.from({ length: count }, (_, i) => new Option(String(i + 1), i)));
    head.value = [...head.options].some(option => option.value === before) ? before : "mean";
  };
  const parts = [...document.querySelectorAll(".part")];
  const redraw = () => { heads(); parts.forEach(draw); };

  const clear = part => {
    for (const word of part.querySelectorAll(".word")) {
      word.style.removeProperty("--share");
      word.classList.remove("asks", "linked", "reads");
    }
    for (const row of part.querySelectorAll(".row")) row.classList.remove("asks");
    part.querySelector(".told").textContent = "";
  };
  const show = word => {
    const part = word.closest(".part"), name = layer.value, [asks, reads] = sides[kind(name)];
    clear(part);
    if (!word.closest("." + asks)) return;
    const columns = [...part.querySelectorAll("." + reads + " .word")], row = Number(word.dataset.row);
    const weight = weights(part.dataset.part, name, part.querySelectorAll("." + asks + " .word").length, columns.length);
    const shares = columns.map((column, s) => [weight(row * columns.length + s), column]);
    for (const [share, column] of shares) {
      column.style.setProperty("--share", Math.sqrt(share).toFixed(3));
      column.classList.add("reads");
    }
    word.classList.add("asks");
    if (asks === "written" && reads === "read")
      for (const s of (word.dataset.links || "").split(" ").filter(Boolean)) columns[s].classList.add("linked");
    const mark = part.querySelector(`figure:not([hidden]) .row[data-row="${row}"]`);
    if (mark) mark.classList.add("asks");
    const best = shares.sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([share]) => share >= 0.01);
    part.querySelector(".told").textContent =
      `${word.dataset.text} reads ` + best.map(([share, column]) => `${column.dataset.text} ${Math.round(100 * share)} %`).join(", ");
  };
  for (const part of parts) {
    part.addEventListener("pointerover", event => { const word = event.target.closest(".word"); if (word) show(word); });
    part.addEventListener("pointerleave", () => { if (!part.contains(document.activeElement)) clear(part); });
    part.addEventListener("focusin", event => { const word = event.target.closest(".word"); if (word) show(word); });
    part.addEventListener("focusout", () => clear(part));
    part.addEventListener("keydown", event => {
      const word = event.target.closest(".word");
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!word || !step) return;
      const row = [...word.parentElement.querySelectorAll(".word")], next = row[row.indexOf(word) + step];
      if (next) { next.focus(); event.preventDefault(); }
    });
  }
  layer.addEventListener("change", redraw);
  head.addEventListener("change", () => parts.forEach(draw));
  document.querySelector(".choice").hidden = false;
  redraw();
})();
