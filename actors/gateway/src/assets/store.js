// The store without page loads: the server renders every view, this module fetches it and puts it in place.
const $ = (selector, root = document) => root.querySelector(selector);
const words = $("#q");
const file = $("#photo input");
const drop = $("#drop");
let pending = null;
let preview = null;

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

function show(page) {
  const fresh = $("#view", page);
  if (!fresh) return;
  $("#view").replaceWith(document.adoptNode(fresh));
  document.title = page.title;
  const image = $("#preview");
  if (preview && image) {
    image.src = preview;
    image.hidden = false;
  }
}

function forgetPhoto() {
  if (preview) URL.revokeObjectURL(preview);
  preview = null;
}

async function go(url, { push = true } = {}) {
  if (!$("#view")) {
    location.assign(url);
    return;
  }
  try {
    forgetPhoto();
    const page = await load(url);
    show(page);
    if (push) history.pushState({}, "", url);
  } catch (error) {
    complain(error);
  }
}

// Words, as they are typed.
let timer = 0;
let typing = false;
words?.addEventListener("input", () => {
  if (!$("#view")) return;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const query = words.value.trim();
    const url = query ? `/store?q=${encodeURIComponent(query)}` : "/store";
    try {
      forgetPhoto();
      show(await load(url));
      // One step back leaves the search, not one letter.
      history[typing ? "replaceState" : "pushState"]({}, "", url);
      typing = query !== "";
    } catch (error) {
      complain(error);
    }
  }, 180);
});
words?.addEventListener("blur", () => { typing = false; });
$("#words")?.addEventListener("submit", (event) => {
  const query = words.value.trim();
  if (!$("#view")) return;
  event.preventDefault();
  clearTimeout(timer);
  go(query ? `/store?q=${encodeURIComponent(query)}` : "/store");
});

// A photo: chosen, dropped or pasted.
async function searchBy(photo) {
  if (!photo || !photo.type.startsWith("image/")) {
    complain(new Error("That is no picture: JPEG, PNG, WebP and GIF are read."));
    return;
  }
  if (!$("#view")) {
    const transfer = new DataTransfer();
    transfer.items.add(photo);
    file.files = transfer.files;
    file.form.submit();
    return;
  }
  const form = new FormData();
  form.append("image", photo);
  try {
    const page = await load("/store", { method: "POST", body: form });
    forgetPhoto();
    preview = URL.createObjectURL(photo);
    words.value = "";
    show(page);
    scrollTo({ top: 0 });
  } catch (error) {
    complain(error);
  }
}
file?.addEventListener("change", () => {
  if (file.files.length) searchBy(file.files[0]);
  if ($("#view")) file.value = "";
});
addEventListener("paste", (event) => {
  const photo = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
  if (photo) {
    event.preventDefault();
    searchBy(photo);
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

// Categories, "show more" and the way back.
document.addEventListener("click", async (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = event.target.closest("a");
  if (!link || !$("#view")?.contains(link)) return;
  if (link.rel === "next") {
    event.preventDefault();
    try {
      const page = await load(link.href);
      const cards = [...$("#grid", page).children].map((card) => document.adoptNode(card));
      const first = cards[0]?.querySelector("a");
      $("#grid").append(...cards);
      $("#more").replaceWith(document.adoptNode($("#more", page)));
      first?.focus({ preventScroll: true });
    } catch (error) {
      complain(error);
    }
  } else if (link.closest(".chips")) {
    event.preventDefault();
    words.value = "";
    go(link.href);
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
