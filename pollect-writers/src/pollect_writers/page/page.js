// Keeps the page up to date: asks /status.json and redraws what changed. Without it the page is
// whole, but stands still.

const EVERY_MS = 5000;
const ANSWER_MS = 8000;
const SIGNS = { up: "✔", troubled: "▲", down: "✖", new: "…", elsewhere: "⇄" };
const WORDS = { new: "not probed yet" };
const COLOURS = { up: "22994d", troubled: "d98a00", down: "d63a3a", new: "808894", elsewhere: "808894" };
const SVG = "http://www.w3.org/2000/svg";

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const html = document.documentElement;

// Times: the daemon's clock counts, whatever that of the browser says.
let serverNow = Number(html.dataset.now);
let receivedAt = performance.now();
const now = () => serverNow + (performance.now() - receivedAt) / 1000;

function span(seconds) {
  let rest = Math.max(0, Math.floor(seconds));
  const shown = [];
  for (const [size, symbol] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const number = Math.floor(rest / size);
    rest %= size;
    if (number || shown.length) shown.push(number ? `${number} ${symbol}` : "");
  }
  return shown.slice(0, 2).filter(Boolean).join(" ") || "0 s";
}

function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function tick() {
  const at = now();
  for (const time of all("time[data-at]")) setText(time, `${span(at - time.dataset.at)} ago`);
  for (const time of all("time[data-since]")) setText(time, span(at - time.dataset.since));
  for (const time of all("time[data-due]")) {
    const left = time.dataset.due - at;
    setText(time, left >= 1 ? `in ${span(left)}` : "now");
  }
}

// A long name may be broken behind its separators, as the server does it.
function setBreakable(element, text) {
  if (element.dataset.text === text) return;
  if (element.dataset.text === undefined && element.textContent === text) {
    element.dataset.text = text;
    return;
  }
  element.dataset.text = text;
  element.replaceChildren();
  text.split("\n").forEach((line, number) => {
    if (number) element.append(document.createElement("br"));
    for (const part of line.split(/(?<=[/_.:])/)) {
      element.append(part, document.createElement("wbr"));
    }
  });
}

function setPill(pill, state, text) {
  pill.className = `pill ${state}`;
  const sign = document.createElement("span");
  sign.ariaHidden = "true";
  sign.textContent = SIGNS[state];
  pill.replaceChildren(sign, ` ${text}`);
}

function drawCurve(svg, curve) {
  const known = curve ? curve.values.filter((value) => value !== null) : [];
  let line = "";
  let area = "";
  if (known.length) {
    let low = Math.min(...known);
    let high = Math.max(...known);
    if (low === high) [low, high] = [low - 1, high + 1];
    const pad = (high - low) * 0.08;
    [low, high] = [low - pad, high + pad];
    const start = curve.times[0];
    const width = Math.max(curve.times.at(-1) - start, 1e-9);
    const steps = curve.times.slice(1).map((time, i) => time - curve.times[i]).sort((a, b) => a - b);
    const usual = steps[Math.floor(steps.length / 2)] || 0;
    let piece = [];
    let last = null;
    const flush = () => {
      if (!piece.length) return;
      const points = piece.map(([x, y]) => `${x.toFixed(0)} ${y.toFixed(1)}`);
      if (points.length === 1) points.push(`${(piece[0][0] + 0.5).toFixed(1)} ${piece[0][1].toFixed(1)}`);
      line += `M${points.join("L")}`;
      area += `M${piece[0][0].toFixed(0)} 100L${points.join("L")}L${piece.at(-1)[0].toFixed(0)} 100Z`;
      piece = [];
    };
    curve.times.forEach((time, i) => {
      const value = curve.values[i];
      if (value === null || (last !== null && time - last > 3.5 * usual)) flush();
      if (value === null) return;
      piece.push([(1000 * (time - start)) / width, (100 * (high - value)) / (high - low)]);
      last = time;
    });
    flush();
  }
  $(".line", svg).setAttribute("d", line);
  $(".area", svg).setAttribute("d", area);
}

function drawStrip(svg, strip) {
  const pieces = [];
  let start = 0;
  for (let i = 1; i <= strip.cells.length; i++) {
    if (strip.cells[i] !== strip.cells[start]) {
      const rect = document.createElementNS(SVG, "rect");
      rect.setAttribute("class", strip.cells[start]);
      rect.setAttribute("x", start);
      rect.setAttribute("width", i - start);
      rect.setAttribute("height", 1);
      pieces.push(rect);
      start = i;
    }
  }
  svg.replaceChildren(...pieces);
  svg.ariaLabel = describeStrip(strip);
}

function describeStrip(strip) {
  const count = (state) => strip.cells.filter((cell) => cell === state).length;
  const known = count("up") + count("troubled") + count("down");
  if (!known) return "nothing known yet";
  const bad = ["down", "troubled"].filter(count).map((state) => `${state} in ${count(state)}`);
  const unit = strip.cellSeconds === 60 ? "minutes" : "probes";
  return `last ${known} ${unit}: ${bad.join(" and ") || "all up"}`;
}

function setValues(list, values) {
  if (list.children.length !== values.length) {
    list.replaceChildren(...values.map(() => {
      const pair = document.createElement("div");
      pair.append(document.createElement("dt"), document.createElement("dd"));
      return pair;
    }));
  }
  values.forEach(([title, text], i) => {
    setBreakable($("dt", list.children[i]), title);
    setText($("dd", list.children[i]), text);
  });
}

function setState(row, state, reason) {
  row.className = `row ${state}`;
  row.dataset.state = state;
  setPill($(".pill", row), state, WORDS[state] ?? state);
  setBreakable($(".reason", row), reason);
}

function reasonOf(source) {
  if (source.state === "elsewhere") return source.owner ? `probed by ${source.owner}` : "has no owner";
  if (source.outcome === "no_data") return "nothing to report";
  return source.reason || source.troubles.join("\n");
}

function updateSource(row, source) {
  setState(row, source.state, reasonOf(source));
  setValues($(".values", row), source.glance.map((glance) => [glance.title, glance.text]));
  drawCurve($(".spark", row), source.curve);
  const first = source.glance[0];
  $(".spark", row).ariaLabel = first ? `${first.title || source.type}: ${first.text}, last hour` : "no values";
  drawStrip($(".strip", row), source.strip);
  const [probed, next] = all(".when span", row);
  setTime(probed, "probed ", "at", source.lastProbe, "never");
  setTime(next, "next ", "due", source.nextProbe, "–");
}

function setTime(element, before, kind, at, missing) {
  const time = $("time", element);
  if (at === null) element.textContent = before + missing;
  else if (time) time.dataset[kind] = at;
  else {
    const made = document.createElement("time");
    made.dataset[kind] = at;
    element.replaceChildren(before, made);
  }
}

function updateWriter(row, writer) {
  setState(row, writer.state, writer.reason);
  const short = (number) => number.toLocaleString("en", number < 1e5 ? {} : { notation: "compact", maximumSignificantDigits: 3 });
  setValues($(".values", row), ["written", "waiting", "lost"].map((word) => [word, short(writer[word])]));
  drawStrip($(".strip", row), writer.strip);
}

function updateHead(status) {
  const { counts, writers, daemon } = status;
  const broken = writers.filter((writer) => writer.state === "down").length;
  const parts = [];
  if (counts.down) parts.push(`${counts.down} down`);
  if (counts.troubled) parts.push(`${counts.troubled} troubled`);
  const lost = `${broken} writer${broken === 1 ? "" : "s"} down`;
  if (broken) parts.push(lost);
  const here = status.sources.length - counts.elsewhere;
  const sources = `${here} source${here === 1 ? "" : "s"}`;
  if (!parts.length && (here || !counts.elsewhere)) parts.push(counts.new ? sources : `${sources}, all up`);
  if (counts.new) parts.push(`${counts.new} not probed yet`);
  if (counts.elsewhere) parts.push(`${counts.elsewhere} elsewhere`);
  setTitle(`${parts.join(", ")} · ${daemon.host} · pollect`);
  const shown = [["down", counts.down], ["troubled", counts.troubled], ["new", counts.new], ["up", counts.up], ["elsewhere", counts.elsewhere]]
    .filter(([state, number]) => number || state === "up");
  const pills = shown.map(([state, number]) => {
    const pill = document.createElement("span");
    setPill(pill, state, `${number} ${WORDS[state] ?? state}`);
    return pill;
  });
  if (broken) {
    const pill = document.createElement("span");
    setPill(pill, "down", lost);
    pills.push(pill);
  }
  const place = $(".counts");
  const text = pills.map((pill) => pill.textContent).join("");
  if (place.textContent !== text) place.replaceChildren(...pills);
  setIcon(counts.down || broken ? "down" : counts.troubled ? "troubled" : counts.up || !counts.new ? "up" : "new");
}

function setTitle(text) {
  if (document.title !== text) document.title = text;
}

function setIcon(state) {
  const svg = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='7' fill='#${COLOURS[state]}'/></svg>`;
  $("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

// What a person chose outlives a redraw and, in this tab, a visit of another page.
const remembered = {
  read(name) { try { return sessionStorage.getItem(`pollect-${name}`); } catch { return null; } },
  write(name, value) { try { sessionStorage.setItem(`pollect-${name}`, value); } catch { /* not allowed here */ } },
};

function filter() {
  const words = $("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const bad = $("#problems").checked;
  remembered.write("search", $("#search").value);
  remembered.write("problems", bad ? "1" : "");
  const filtering = bad || words.length > 0;
  let shown = 0;
  for (const group of all("details.group")) {
    let fits = 0;
    for (const row of all(".row", group)) {
      const text = `${row.dataset.id} ${row.dataset.state} ${$(".reason", row).textContent}`.toLowerCase();
      const wanted = words.every((word) => text.includes(word)) &&
        (!bad || row.dataset.state === "down" || row.dataset.state === "troubled");
      row.hidden = !wanted;
      fits += wanted;
    }
    group.hidden = filtering && !fits;
    if (filtering && group.dataset.before === undefined) group.dataset.before = group.open;
    if (filtering) group.open = fits > 0;
    else if (group.dataset.before !== undefined) {
      group.open = group.dataset.before === "true";
      delete group.dataset.before;
    }
    shown += fits;
  }
  $("#nothing").hidden = shown > 0 || !all(".row[data-id]").length;
}

// Errors of the connection

let failedSince = null;

function answered(daemon) {
  serverNow = daemon.now;
  receivedAt = performance.now();
  html.dataset.now = daemon.now;
  const updated = $("#updated time");
  if (updated) updated.dataset.at = daemon.now;
  failedSince = null;
  html.classList.remove("stale");
  $("#stale").hidden = true;
}

function failed(error) {
  failedSince ??= performance.now() - receivedAt > 2 * EVERY_MS ? receivedAt : performance.now();
  html.classList.add("stale");
  const banner = $("#stale");
  const seconds = (performance.now() - receivedAt) / 1000;
  banner.textContent = `pollect does not answer (${error}). What you see is ${span(seconds)} old.`;
  banner.hidden = false;
  setTitle(`no answer · ${document.title.replace(/^no answer · /, "")}`);
}

async function ask(url, accept) {
  const answer = await fetch(url, {
    headers: { Accept: accept },
    cache: "no-store",
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (!answer.ok) throw new Error(`it answers ${answer.status}`);
  return answer;
}

// Takes the parts that changed their shape from the page as the server draws it now.
async function redraw(selectors) {
  const text = await (await ask(location.href, "text/html")).text();
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const selector of selectors) {
    const [old, made] = [$(selector), $(selector, fresh)];
    if (old && made) old.replaceWith(document.adoptNode(made));
  }
  all(".banner.warn").forEach((banner) => banner.remove());
  const banner = $(".banner.warn", fresh);
  if (banner) $("#stale").before(document.adoptNode(banner));
}

let reloadedAt = null;
let fleetShown = "";

// The fleet changes rarely: its part is drawn by the server.
async function refreshFleet(fleet) {
  if (!fleet) return;
  const { leaseRemainingSeconds, ...lasting } = fleet;
  const text = JSON.stringify(lasting);
  if (fleetShown !== text) await redraw([".fleet"]);
  fleetShown = text;
}

async function refreshAll() {
  const status = await (await ask("status.json", "application/json")).json();
  const order = status.sources.map((source) => source.id);
  const shown = all(".row[data-id]").map((row) => row.dataset.id);
  const writers = all(".row[data-writer]").map((row) => row.dataset.writer);
  const sameShape = order.join("\n") === shown.join("\n") &&
    status.writers.map((writer) => writer.name).join("\n") === writers.join("\n");
  const reloaded = JSON.stringify(status.daemon.lastReload);
  if (!sameShape || (reloadedAt !== null && reloaded !== reloadedAt)) {
    const open = new Map(all("details.group").map((group) => [group.dataset.group, group.open]));
    const focused = document.activeElement?.closest?.(".row")?.dataset.id;
    await redraw(["#sources", ".writers", ".facts"]);
    for (const group of all("details.group")) {
      if (open.has(group.dataset.group)) group.open = open.get(group.dataset.group);
    }
    if (focused) rowLink(all(".row[data-id]").find((row) => row.dataset.id === focused))?.focus();
  } else {
    all(".row[data-id]").forEach((row, i) => updateSource(row, status.sources[i]));
    all(".row[data-writer]").forEach((row, i) => updateWriter(row, status.writers[i]));
  }
  reloadedAt = reloaded;
  await refreshFleet(status.fleet);
  answered(status.daemon);
  updateHead(status);
  filter();
}

async function refreshOne() {
  const article = $("article[data-source]");
  const url = `status.json?source=${encodeURIComponent(article.dataset.source)}`;
  const detail = await (await ask(url, "application/json")).json();
  const probed = (detail.summary.lastProbe ?? 0).toFixed(1);
  if (probed !== article.dataset.probed) {
    const open = all("details", article).map((details) => details.open);
    const focused = document.activeElement?.matches?.(".plot") ? all(".plot").indexOf(document.activeElement) : -1;
    const scroll = scrollY;
    await redraw(["article[data-source]", ".source", ".facts"]);
    all("article details").forEach((details, i) => { details.open = open[i] ?? details.open; });
    follow();
    all(".plot")[focused]?.focus({ preventScroll: true });
    scrollTo(0, scroll);
    setIcon(detail.summary.state);
    const { id, state } = detail.summary;
    setTitle(`${id}: ${WORDS[state] ?? state} · ${detail.daemon.host} · pollect`);
  }
  answered(detail.daemon);
}

// Plots: a line and the values under the pointer, or moved with the arrow keys.

function format(value, divisor, symbol) {
  if (value === null) return "–";
  const number = (value / divisor).toLocaleString("en", { maximumSignificantDigits: 4 });
  return symbol === "%" || symbol === "°" ? number + symbol : symbol ? `${number} ${symbol}` : number;
}

let pointer = null; // { plot, fraction }

function follow() {
  for (const plot of all(".plot")) {
    const data = JSON.parse(plot.dataset.plot);
    let index = data.times.length - 1;
    const show = (to) => {
      index = Math.max(0, Math.min(data.times.length - 1, to));
      showCursor(plot, data, index);
    };
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const at = data.times[0] + ((event.clientX - box.left) / box.width) * (data.times.at(-1) - data.times[0]);
      let best = 0;
      data.times.forEach((time, i) => { if (Math.abs(time - at) < Math.abs(data.times[best] - at)) best = i; });
      pointer = { plot: all(".plot").indexOf(plot), x: event.clientX };
      show(best);
    });
    plot.addEventListener("pointerleave", () => { pointer = null; hideCursor(plot); });
    plot.addEventListener("blur", () => hideCursor(plot));
    plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) show(index); });
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      show(index + step);
    });
  }
  if (pointer) {
    const plot = all(".plot")[pointer.plot];
    plot?.dispatchEvent(new PointerEvent("pointermove", { clientX: pointer.x }));
  }
}

function showCursor(plot, data, index) {
  let tip = $(".tip", plot);
  let line = $(".cursor", plot);
  if (!tip) {
    tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    line = document.createElement("div");
    line.className = "cursor";
    plot.append(line, tip);
  }
  const width = data.times.at(-1) - data.times[0] || 1;
  const fraction = (data.times[index] - data.times[0]) / width;
  line.style.left = `${100 * fraction}%`;
  tip.style.left = fraction < 0.5 ? `calc(${100 * fraction}% + 10px)` : "auto";
  tip.style.right = fraction < 0.5 ? "auto" : `calc(${100 * (1 - fraction)}% + 10px)`;
  const head = document.createElement("strong");
  head.textContent = new Date(data.times[index] * 1000).toLocaleTimeString();
  const rows = data.series.map((series, number) => {
    const row = document.createElement("div");
    const key = document.createElement("span");
    key.className = data.series.length > 1 ? `key s${number}` : "key s0";
    row.append(key, `${series.name} `, Object.assign(document.createElement("b"), {
      textContent: format(series.values[index] ?? null, data.divisor, data.symbol),
    }));
    return row;
  });
  tip.replaceChildren(head, ...rows);
}

function hideCursor(plot) {
  $(".tip", plot)?.remove();
  $(".cursor", plot)?.remove();
}

// Keyboard

const rowLink = (row) => (row ? $("a.name", row) : null);

function move(by) {
  const links = all(".row[data-id]").filter((row) => row.checkVisibility()).map(rowLink);
  if (!links.length) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + by));
  links[next].focus();
  links[next].closest(".row").scrollIntoView({ block: "nearest" });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const search = $("#search");
  const typing = event.target.matches?.("input[type=search], textarea");
  if (event.key === "Escape") {
    if (typing) { search.value = ""; filter(); search.blur(); }
    else if (!search) location.href = "./";
    return;
  }
  if (typing || !search) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
  else if (event.key === "p") { $("#problems").checked = !$("#problems").checked; filter(); }
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
}

async function probeNow(event) {
  event.preventDefault();
  const form = event.target;
  const [button, told] = [$("button", form), $("[role=status]", form)];
  button.disabled = true;
  setText(told, "probing …");
  try {
    const answer = await fetch(form.action, { method: "POST", redirect: "manual" });
    if (answer.type !== "opaqueredirect" && !answer.ok) throw new Error((await answer.text()).trim());
    await refreshOne();
  } catch (error) {
    setText(told, error.message);
    button.disabled = false;
  }
}

const refresh = $("article[data-source]") ? refreshOne : refreshAll;

async function loop() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
    }
    try {
      await refresh();
    } catch (error) {
      failed(error.name === "TimeoutError" ? "no answer in time" : error instanceof TypeError ? "no connection" : error.message);
    }
    tick();
  }
}

document.addEventListener("keydown", onKey);
document.addEventListener("submit", (event) => { if (event.target.id === "probe") probeNow(event); });
if ($("#search")) {
  $("#search").value = remembered.read("search") ?? "";
  $("#problems").checked = remembered.read("problems") === "1";
  $("#search").addEventListener("input", filter);
  $("#problems").addEventListener("change", filter);
  filter();
}
follow();
setInterval(tick, 1000);
loop();
