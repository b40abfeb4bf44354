// The store without page loads: the server renders every view, this module fetches it and puts it in place. It also completes what
// is typed, and keeps the photo that is searched with and the boxes drawn on it.
const $ = (selector, root = document) => root.querySelector(selector);
const words = $("#q");
const list = $("#suggestions");
const file = $("#photo input");
const drop = $("#drop");
const stage = $("#stage");
const preview = $("#preview");
const canvas = $("#boxes");
const BOXES_MAX = 8;
const SIDE_MIN = 0.03;
const STEP = 0.02;
const SVG = "http://www.w3.org/2000/svg";
let pending = null;
let photo = null;
/** [left, top, width, height] in shares of the photo. */
let boxes = [];

/** Fetches a page and returns its document; a newer request ends an older one. */
async function load(url, options = {}) {
  pending?.abort();
  pending = new AbortController();
  const view = $("#view");
  view?.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(url, { ...options, signal: pending.signal, headers: { accept: "text/html" } });
    const text = await response.text();
    if (!(response.headers.get("content-type") ?? "").startsWith("text/html")) {
      let problem = {};
      try { problem = JSON.parse(text); } catch { /* the status says enough */ }
      throw new Error(problem.detail ?? `The box answered ${response.status}.`);
    }
    complain(null);
    return new DOMParser().parseFromString(text, "text/html");
  } finally {
    view?.removeAttribute("aria-busy");
  }
}

/** Shows what went wrong, or that nothing does any more. */
function complain(error) {
  const place = $("#trouble");
  if (!place || error?.name === "AbortError") return;
  place.hidden = !error;
  place.textContent = error ? (error instanceof TypeError ? "The box cannot be reached just now." : error.message) : "";
}

/** Puts a view in place; what was open, scrolled to or had the focus in the old one is so in the new one. */
function show(page) {
  const fresh = $("#view", page);
  const old = $("#view");
  if (!fresh || !old) return;
  const open = new Map([...old.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const scrolled = new Map([...old.querySelectorAll("details.group")].map((one) => [one.id, $(".values", one)?.scrollTop ?? 0]));
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(document.adoptNode(fresh));
  for (const one of document.querySelectorAll("#view details[id]")) {
    if (open.has(one.id)) one.open = open.get(one.id);
    if (scrolled.get(one.id)) $(".values", one).scrollTop = scrolled.get(one.id);
  }
  if (active?.name) {
    const same = [...document.querySelectorAll("#view [name]")].find((one) => one.name === active.name && (one.type !== "checkbox" || one.value === active.value));
    same?.focus({ preventScroll: true });
  }
  document.title = page.title;
  ready();
}

/** What only works with this module comes to light once it runs. */
function ready() {
  document.body.classList.add("live");
  if (!photo) return;
  for (const one of document.querySelectorAll("#view [data-photo], #view [data-offset]")) one.hidden = false;
}

async function go(url, { push = true } = {}) {
  if (!$("#view")) {
    location.assign(url);
    return;
  }
  try {
    const page = await load(url);
    forgetPhoto();
    show(page);
    if (push) history.pushState({}, "", url);
  } catch (error) {
    complain(error);
  }
}

// Completions of what is typed: a combobox whose list is walked by the arrow keys.
let suggested = [];
let chosen = -1;
let completing = null;

function closeList() {
  completing?.abort();
  suggested = [];
  chosen = -1;
  if (!list) return;
  list.hidden = true;
  list.replaceChildren();
  words.setAttribute("aria-expanded", "false");
  words.removeAttribute("aria-activedescendant");
}

function choose(index) {
  chosen = index;
  for (const [at, option] of [...list.children].entries()) option.setAttribute("aria-selected", String(at === index));
  if (index < 0) words.removeAttribute("aria-activedescendant");
  else {
    words.setAttribute("aria-activedescendant", `suggestion-${index}`);
    list.children[index].scrollIntoView({ block: "nearest" });
  }
}

async function complete() {
  const typed = words.value.trim();
  completing?.abort();
  if (!typed || !list) return closeList();
  completing = new AbortController();
  try {
    const response = await fetch(`/v1/suggest?limit=8&q=${encodeURIComponent(typed)}`, { signal: completing.signal });
    if (!response.ok) return closeList();
    const { items } = await response.json();
    if (document.activeElement !== words) return closeList();
    suggested = items.map((item) => item.text);
    chosen = -1;
    list.replaceChildren(...items.map((item, index) => {
      const option = document.createElement("li");
      option.id = `suggestion-${index}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      const text = document.createElement("span");
      text.textContent = item.text;
      const kind = document.createElement("span");
      kind.className = "kind";
      kind.textContent = item.kind;
      option.append(text, kind);
      return option;
    }));
    list.hidden = items.length === 0;
    words.setAttribute("aria-expanded", String(items.length > 0));
    words.removeAttribute("aria-activedescendant");
  } catch (error) {
    if (error.name !== "AbortError") closeList();
  }
}

function search(query) {
  clearTimeout(timer);
  words.value = query;
  closeList();
  go(query ? `/store?q=${encodeURIComponent(query)}` : "/store");
}

list?.addEventListener("pointerdown", (event) => {
  const option = event.target.closest("[role=option]");
  if (!option) return;
  event.preventDefault();
  search(suggested[[...list.children].indexOf(option)]);
});
words?.addEventListener("keydown", (event) => {
  const count = suggested.length;
  if (event.key === "Escape" && count) {
    event.preventDefault();
    closeList();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && count) {
    event.preventDefault();
    const step = event.key === "ArrowDown" ? 1 : -1;
    choose(((chosen + 1 + step + count + 1) % (count + 1)) - 1);
  } else if (event.key === "Enter" && chosen >= 0) {
    event.preventDefault();
    search(suggested[chosen]);
  }
});

// Words, as they are typed.
let timer = 0;
let typing = false;
words?.addEventListener("input", () => {
  complete();
  if (!$("#view")) return;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const query = words.value.trim();
    const url = query ? `/store?q=${encodeURIComponent(query)}` : "/store";
    try {
      const page = await load(url);
      forgetPhoto();
      show(page);
      // One step back leaves the search, not one letter.
      history[typing ? "replaceState" : "pushState"]({}, "", url);
      typing = query !== "";
    } catch (error) {
      complain(error);
    }
  }, 180);
});
words?.addEventListener("blur", () => {
  typing = false;
  closeList();
});
$("#words")?.addEventListener("submit", (event) => {
  if (!$("#view")) return;
  event.preventDefault();
  search(words.value.trim());
});

// A photo: chosen, dropped or pasted, then searched with as a whole or by the boxes drawn on it.
function forgetPhoto() {
  if (preview?.src) URL.revokeObjectURL(preview.src);
  preview?.removeAttribute("src");
  photo = null;
  boxes = [];
  if (stage) stage.hidden = true;
}

const narrows = (name) => name.startsWith("f.") || ["min", "max", "sort"].includes(name);

/** The view of the photo and its boxes, narrowed down as the form says; a photo that has just come is looked for everywhere. */
async function photoView({ offset = 0, isNew = false } = {}) {
  const form = new FormData();
  const filters = isNew ? null : $("#view #filters");
  if (filters) for (const [name, value] of new FormData(filters)) if (value && narrows(name)) form.append(name, value);
  if (boxes.length) form.append("boxes", JSON.stringify(boxes));
  if (offset) form.append("offset", offset);
  form.append("image", photo);
  return load("/store", { method: "POST", body: form });
}

async function searchPhoto(options = {}) {
  try {
    show(await photoView(options));
  } catch (error) {
    complain(error);
  }
}

async function searchBy(chosenFile) {
  if (!chosenFile || !chosenFile.type.startsWith("image/")) {
    complain(new Error("That is no picture: JPEG, PNG, WebP and GIF are read."));
    return;
  }
  if (!$("#view")) {
    const transfer = new DataTransfer();
    transfer.items.add(chosenFile);
    file.files = transfer.files;
    file.form.submit();
    return;
  }
  forgetPhoto();
  photo = chosenFile;
  preview.src = URL.createObjectURL(photo);
  words.value = "";
  stage.hidden = false;
  draw();
  await searchPhoto({ isNew: true });
  scrollTo({ top: 0 });
}
file?.addEventListener("change", () => {
  if (file.files.length) searchBy(file.files[0]);
  if ($("#view")) file.value = "";
});
addEventListener("paste", (event) => {
  const pasted = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (pasted) {
    event.preventDefault();
    searchBy(pasted);
  }
});
const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragover", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  if (drop) drop.hidden = false;
});
addEventListener("dragleave", (event) => {
  if (drop && event.relatedTarget === null) drop.hidden = true;
});
addEventListener("drop", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  if (drop) drop.hidden = true;
  searchBy(event.dataTransfer.files[0]);
});
$("#clear-photo")?.addEventListener("click", () => {
  go("/store");
  words.focus();
});

// Boxes on the photo: drawn by the pointer, moved and resized by the arrow keys, taken off by a button.
const rounded = (number) => Math.round(number * 1000) / 1000;
const within = ([x, y, width, height]) => {
  const [w, h] = [Math.min(Math.max(width, SIDE_MIN), 1), Math.min(Math.max(height, SIDE_MIN), 1)];
  return [Math.min(Math.max(x, 0), 1 - w), Math.min(Math.max(y, 0), 1 - h), w, h].map(rounded);
};
let later = 0;
function boxesChanged() {
  draw();
  clearTimeout(later);
  later = setTimeout(() => searchPhoto(), 250);
}

function draw(draft = null) {
  const shape = ([x, y, width, height], kind) => {
    const rect = document.createElementNS(SVG, "rect");
    for (const [name, value] of Object.entries({ x, y, width, height, class: kind })) rect.setAttribute(name, value);
    return rect;
  };
  canvas.replaceChildren(...boxes.map((box) => shape(box, "box")), ...(draft ? [shape(draft, "draft")] : []));
  const places = $("#box-list");
  while (places.children.length > boxes.length) places.lastChild.remove();
  while (places.children.length < boxes.length) {
    const place = document.createElement("li");
    const index = places.children.length;
    const move = document.createElement("button");
    move.type = "button";
    move.className = "quiet";
    move.textContent = `Box ${index + 1}`;
    move.title = "Arrow keys move it, with Shift they resize it";
    move.addEventListener("keydown", (event) => nudge(event, index));
    move.addEventListener("focus", () => mark(index));
    move.addEventListener("blur", () => mark(-1));
    place.addEventListener("pointerenter", () => mark(index));
    place.addEventListener("pointerleave", () => mark(-1));
    const remove = document.createElement("button");
    remove.type = "button";
    remove.className = "quiet";
    remove.textContent = "×";
    remove.setAttribute("aria-label", `Remove box ${index + 1}`);
    remove.addEventListener("click", () => {
      boxes.splice(index, 1);
      boxesChanged();
      ($(`#box-list li:nth-child(${Math.max(boxes.length, 1)}) button`) ?? $("#add-box")).focus();
    });
    place.append(move, remove);
    places.append(place);
  }
  $("#add-box").disabled = boxes.length >= BOXES_MAX;
}

function mark(index) {
  for (const [at, rect] of [...canvas.children].entries()) rect.classList.toggle("marked", at === index);
}

function nudge(event, index) {
  const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
  const move = moves[event.key];
  if (!move) return;
  event.preventDefault();
  const [x, y, width, height] = boxes[index];
  boxes[index] = within(event.shiftKey ? [x, y, width + move[0], height + move[1]] : [x + move[0], y + move[1], width, height]);
  boxesChanged();
  mark(index);
}

$("#add-box")?.addEventListener("click", () => {
  if (boxes.length >= BOXES_MAX) return;
  boxes.push([0.25, 0.25, 0.5, 0.5]);
  boxesChanged();
  $("#box-list li:last-child button").focus();
});

let start = null;
const at = (event) => {
  const frame = canvas.getBoundingClientRect();
  return [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height].map((share) => Math.min(Math.max(share, 0), 1));
};
const between = ([x, y], [u, v]) => [Math.min(x, u), Math.min(y, v), Math.abs(u - x), Math.abs(v - y)].map(rounded);
canvas?.addEventListener("pointerdown", (event) => {
  if (event.button || boxes.length >= BOXES_MAX) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  start = at(event);
});
canvas?.addEventListener("pointermove", (event) => {
  if (start) draw(between(start, at(event)));
});
canvas?.addEventListener("pointercancel", () => {
  start = null;
  draw();
});
canvas?.addEventListener("pointerup", (event) => {
  if (!start) return;
  const box = between(start, at(event));
  start = null;
  // A click is no box.
  if (box[2] >= SIDE_MIN && box[3] >= SIDE_MIN) {
    boxes.push(within(box));
    boxesChanged();
  } else draw();
});

// What narrows the list down is sent as it is chosen.
const filtered = (form) => {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value && !(name === "sort" && value === "relevance")) query.append(name, value);
  return `/store${query.size ? `?${query}` : ""}`;
};
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (form?.id !== "filters") return;
  if (photo) searchPhoto();
  else go(filtered(form));
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id !== "filters" && form.id !== "colour") return;
  event.preventDefault();
  if (photo && form.id === "filters") searchPhoto();
  else go(filtered(form));
});

/** Adds the cards of a further page to the grid. */
function append(page) {
  const cards = [...$("#grid", page).children].map((card) => document.adoptNode(card));
  const first = cards[0]?.querySelector("a");
  $("#grid").append(...cards);
  $("#more").replaceWith(document.adoptNode($("#more", page)));
  ready();
  first?.focus({ preventScroll: true });
}

// Chips, "more like this", "show more" and the way back.
document.addEventListener("click", async (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const further = event.target.closest("[data-offset]");
  if (further && photo) {
    try {
      append(await photoView({ offset: further.dataset.offset }));
    } catch (error) {
      complain(error);
    }
    return;
  }
  const link = event.target.closest("a");
  if (!link || !$("#view")?.contains(link)) return;
  if (link.rel === "next") {
    event.preventDefault();
    try {
      append(await load(link.href));
    } catch (error) {
      complain(error);
    }
  } else if (photo && link.closest(".chosen") && $("#view [data-photo]")) {
    // The photo stays: only what narrows it down is taken off.
    event.preventDefault();
    const left = new URL(link.href).searchParams;
    for (const input of $("#filters").elements) {
      if (input.type === "checkbox") input.checked = left.getAll(input.name).includes(input.value);
      else if (input.name === "min" || input.name === "max") input.value = left.get(input.name) ?? "";
    }
    searchPhoto();
  } else if (link.matches("[data-go], .like, .words a")) {
    event.preventDefault();
    words.value = new URL(link.href).searchParams.get("q") ?? "";
    go(link.href);
    if (link.matches(".like")) scrollTo({ top: 0 });
  }
});
addEventListener("popstate", () => {
  words.value = new URLSearchParams(location.search).get("q") ?? "";
  go(location.href, { push: false });
});

// A picture that is not there (yet) leaves its frame.
document.addEventListener("error", (event) => {
  if (event.target.matches?.(".photo img")) event.target.classList.add("missing");
}, true);
for (const image of document.querySelectorAll(".photo img")) {
  if (image.complete && !image.naturalWidth) image.classList.add("missing");
}

// "/" leads to the search field, as everywhere.
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, textarea, select")) {
    event.preventDefault();
    words?.focus();
  }
});
// What the visitor does is told to the box, so that the next page knows it.
const visitor = (() => {
  const known = document.cookie.match(/(?:^|;\s*)gotham_visitor=([\w-]+)/)?.[1];
  const name = known ?? (crypto.randomUUID?.() ?? `${Date.now()}-${Math.floor(Math.random() * 1e9)}`);
  document.cookie = `gotham_visitor=${name}; path=/; max-age=31536000; samesite=lax`;
  return name;
})();

/** Tells one event; it goes out even when the page is left. */
function tell(event) {
  const body = JSON.stringify({ ...event, event_id: crypto.randomUUID?.(), visitor_id: visitor, at: new Date().toISOString() });
  return fetch("/v1/events", { method: "POST", body, keepalive: true, headers: { "content-type": "application/json" } }).catch(() => {});
}

/** The page's product was seen; shelves were shown. */
function seen() {
  const product = location.pathname.match(/^\/store\/p\/([^/]+)$/)?.[1];
  if (product) tell({ type: "view", product_id: decodeURIComponent(product) });
  for (const shelf of document.querySelectorAll("[data-token]")) {
    const items = [...shelf.querySelectorAll("[data-product]")].map((card) => ({ product_id: card.dataset.product, position: Number(card.dataset.position) }));
    if (items.length) tell({ type: "impression", attribution_token: shelf.dataset.token, items });
  }
}
document.addEventListener("click", (event) => {
  const card = event.target.closest?.("[data-token] [data-product]");
  if (card) tell({ type: "click", attribution_token: card.closest("[data-token]").dataset.token, product_id: card.dataset.product, position: Number(card.dataset.position) });
  const button = event.target.closest?.("[data-event]");
  if (button) {
    button.disabled = true;
    tell({ type: button.dataset.event, product_id: button.dataset.product }).then(() => { button.textContent = button.dataset.done; });
  }
});
ready();
seen();
