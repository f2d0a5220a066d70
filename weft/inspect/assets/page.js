"use strict";
// One state (layer, group, token), one draw(); every event changes the state and draws.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const layers = data.layers.map((layer) => ({
  ...layer,
  blocks: new Int16Array(bytes(layer.blocks).buffer), // [token][group][slot]
  importance: bytes(layer.importance), // [token][group][block], 255 * sqrt(share)
  gates: bytes(layer.gates), // [token][group][branch], 255 * gate
  reads: new Uint32Array(bytes(layer.reads).buffer), // [token][group][branch]
}));
const BRANCHES = ["compressed", "selected", "sliding"];
const count = data.pieces.length;
const state = { layer: 0, group: 0, token: count - 1, held: false };

const layer = () => layers[state.layer];
const share = (token, block) => {
  const { importance, groups, columns } = layer();
  return (importance[(token * groups + state.group) * columns + block] / 255) ** 2;
};
const chosenBlocks = (token) => {
  const { blocks, groups, slots } = layer();
  const start = (token * groups + state.group) * slots;
  return Array.from(blocks.subarray(start, start + slots)).filter((block) => block >= 0);
};
const isForced = (token, block) => {
  const own = Math.floor(token / layer().selectBlock);
  return block === 0 || block === own || block === own - 1;
};
const triple = (array, token) => {
  const start = (token * layer().groups + state.group) * 3;
  return Array.from(array.subarray(start, start + 3));
};
const percent = (value) => `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}\u00a0%`;

// ---- the text ----

const spans = data.pieces.map((piece, token) => {
  const span = document.createElement("span");
  span.textContent = piece;
  span.dataset.token = token;
  return span;
});

function drawText() {
  const { token } = state;
  const { selectBlock, window: width } = layer();
  const chosen = new Set(chosenBlocks(token));
  spans.forEach((span, t) => {
    const block = Math.floor(t / selectBlock);
    const seen = t <= token;
    const names = [];
    if (!seen) names.push("later");
    if (seen && chosen.has(block)) names.push(isForced(token, block) ? "forced" : "chosen");
    if (seen && t > token - width) names.push("near");
    if (t === token) names.push("current");
    span.className = names.join(" ");
    if (names.includes("chosen")) span.style.setProperty("--weight", (0.2 + 0.75 * Math.sqrt(share(token, block))).toFixed(2));
  });
}

// ---- the words beside it ----

function meter(name, value, text) {
  return `<div class="meter"><span>${name}</span><i style="--share:${100 * Math.min(value, 1)}%;--colour:var(--${name})"></i><span>${text}</span></div>`;
}

function drawDetail() {
  const { token } = state;
  const { selectBlock } = layer();
  const gates = triple(layer().gates, token).map((gate) => gate / 255);
  const reads = triple(layer().reads, token);
  const seen = token + 1;
  const total = reads.reduce((sum, each) => sum + each, 0);
  const free = chosenBlocks(token).filter((block) => !isForced(token, block));
  const named = document.createElement("code");
  named.textContent = JSON.stringify(data.pieces[token]);
  const list = free.map((block) => `${block * selectBlock}–${(block + 1) * selectBlock - 1} (${percent(share(token, block))})`);
  element("detail").innerHTML =
    `<h3>Token ${token} ${named.outerHTML}</h3>` +
    `<h4>Blocks it chose freely: tokens (importance)</h4><p>${list.join("<br>") || "none: the blocks that every token takes are all there is, or all it may take"}</p>` +
    `<h4>Gates, mean of the group's heads</h4>` +
    BRANCHES.map((name, i) => meter(name, gates[i], gates[i].toFixed(2))).join("") +
    `<h4>Entries read</h4>` +
    BRANCHES.map((name, i) => meter(name, reads[i] / seen, reads[i])).join("") +
    `<p class="total">${total} in all, full attention: ${seen} (${percent(total / seen)})</p>`;
}

// ---- the maps ----

const maps = ["chosen", "importance"].map((kind) => ({ kind, canvas: element(kind) }));

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function drawMap({ kind, canvas }) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  const { columns, selectBlock } = layer();
  const [cell, row] = [width / columns, height / count];
  pen.fillStyle = kind === "chosen" ? `rgb(${colour("--selected-rgb")})` : colour("--compressed");
  for (let token = 0; token < count; token++) {
    const blocks = kind === "chosen" ? chosenBlocks(token) : Array(Math.floor(token / selectBlock) + 1).keys();
    for (const block of blocks) {
      pen.globalAlpha = kind === "chosen" ? (isForced(token, block) ? 0.38 : 1) : Math.sqrt(share(token, block));
      pen.fillRect(block * cell, token * row, Math.max(cell - scale, 1), Math.max(row, 1));
    }
  }
  pen.globalAlpha = 1;
  pen.fillStyle = colour("--ink");
  pen.fillRect(0, (state.token + 0.5) * row - scale / 2, width, scale);
}

function pointAtMap({ canvas }, event) {
  const box = canvas.getBoundingClientRect();
  const token = Math.min(count - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * count)));
  const { columns, selectBlock } = layer();
  const block = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
  const first = block * selectBlock;
  const verdict =
    first > token ? "the future" : chosenBlocks(token).includes(block) ? (isForced(token, block) ? "always read" : "chosen") : "not chosen";
  const weight = first > token ? "" : `, importance ${percent(share(token, block))}`;
  element("cell").textContent = `Token ${token}, block ${block} (tokens ${first}–${first + selectBlock - 1}): ${verdict}${weight}.`;
  if (!state.held) select(token);
}

// ---- state ----

function draw() {
  drawText();
  drawDetail();
  maps.forEach(drawMap);
}

function select(token, scroll) {
  state.token = Math.min(count - 1, Math.max(0, token));
  draw();
  if (!scroll) return;
  const [box, span] = [element("text"), spans[state.token]];
  const above = span.offsetTop - box.offsetTop;
  if (above < box.scrollTop || above > box.scrollTop + box.clientHeight - 40) box.scrollTop = above - box.clientHeight / 2;
}

function buttons(place, label, names, key) {
  place.replaceChildren(label);
  names.forEach((name, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-pressed", index === state[key]);
    button.onclick = () => {
      state[key] = index;
      if (key === "layer") state.group = Math.min(state.group, layer().groups - 1);
      controls();
      draw();
    };
    place.append(button);
  });
}

function controls() {
  buttons(element("layers"), "Layer", layers.map((each) => each.index), "layer");
  buttons(element("groups"), "Group", [...Array(layer().groups).keys()], "group");
}

element("theme").onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  if (layers.length) maps.forEach(drawMap);
};

if (layers.length === 0) {
  element("explorer").hidden = element("maps").hidden = true;
} else {
  const text = element("text");
  text.append(...spans);
  text.onmouseover = (event) => event.target.dataset.token && !state.held && select(Number(event.target.dataset.token));
  text.onclick = (event) => {
    if (!event.target.dataset.token) return;
    const token = Number(event.target.dataset.token);
    state.held = !(state.held && token === state.token);
    select(token);
  };
  text.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layer().selectBlock, ArrowDown: layer().selectBlock }[event.key];
    if (!step) return;
    event.preventDefault();
    state.held = true;
    select(state.token + step, true);
  };
  maps.forEach((map) => {
    map.canvas.onmousemove = (event) => pointAtMap(map, event);
    map.canvas.onclick = (event) => pointAtMap(map, event);
  });
  window.addEventListener("resize", () => maps.forEach(drawMap));
  controls();
  select(count - 1, true);
}
