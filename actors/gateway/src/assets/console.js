// Keeps the console current: sections marked data-live are read again, running tasks are followed by server-sent events.
const $ = (selector, root = document) => root.querySelector(selector);
const INTERVAL_MS = 2000;
const NAMES = { enqueued: ["later", "Waiting"], processing: ["few", "Reading"], succeeded: ["in", "Done"], failed: ["out", "Failed"], canceled: ["later", "Canceled"] };
const followed = new Map();
const number = (value) => value.toString().replace(/\B(?=(\d{3})+$)/g, ",");

/** The same line as the server's. */
function counts(task) {
  const parts = ["created", "updated", "unchanged", "deleted", "rejected"].filter((name) => task.counts[name] > 0);
  return [`${number(task.counts.records)} records`, ...parts.map((name) => `${number(task.counts[name])} ${name}`), ...(task.dry_run ? ["dry run"] : [])].join(" · ");
}

function update(task) {
  const item = document.getElementById(`task-${task.id}`);
  if (!item) return;
  const bar = $("progress", item);
  if (bar && task.progress !== undefined) bar.value = task.progress;
  $("[data-counts]", item).textContent = counts(task);
  const [kind, text] = NAMES[task.status];
  const badge = $("[data-status]", item);
  badge.className = `stock ${kind}`;
  badge.textContent = text;
}

function follow() {
  for (const item of document.querySelectorAll("[data-task]")) {
    const id = item.dataset.task;
    if (followed.has(id)) continue;
    const events = new EventSource(`/v1/tasks/${id}/events`);
    followed.set(id, events);
    events.addEventListener("progress", (event) => update(JSON.parse(event.data)));
    events.addEventListener("end", (event) => {
      events.close();
      update(JSON.parse(event.data));
      // The feed's own page has more to show now than its counts.
      if (location.pathname.startsWith("/console/feeds/")) location.reload();
      else refresh();
    });
  }
}

/** Replaces what has changed, unless somebody is at it; tasks that are followed keep themselves current. */
async function refresh() {
  const sections = document.querySelectorAll("[data-live]");
  if (!sections.length) return;
  const response = await fetch("/console", { headers: { accept: "text/html" } });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const section of sections) {
    const fresh = page.getElementById(section.id);
    if (!fresh || fresh.innerHTML === section.innerHTML || section.contains(document.activeElement)) continue;
    if (section.id === "tasks" && signature(fresh) === signature(section)) continue;
    section.replaceWith(document.adoptNode(fresh));
  }
  follow();
}

const signature = (list) => [...list.children].map((item) => `${item.id}${item.dataset.task ? "+" : ""}${$("[data-status]", item)?.textContent}`).join();

async function tick() {
  try {
    if (!document.hidden) await refresh();
    document.body.classList.remove("offline");
  } catch {
    const tile = $("#tiles .tile");
    if (tile) {
      tile.className = "tile bad";
      $("dd", tile).textContent = "No answer";
    }
  }
  setTimeout(tick, INTERVAL_MS);
}

/** What a problem says, for people. */
async function explain(response) {
  try {
    const problem = await response.json();
    return [problem.detail, ...(problem.errors ?? []).map((one) => one.detail)].filter((text, index, all) => text && all.indexOf(text) === index).join(" ");
  } catch {
    return `The box answered ${response.status}.`;
  }
}

// Buttons that do one thing: cancel, try again.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-act]")) return;
  event.preventDefault();
  const button = $("button", form);
  button.disabled = true;
  try {
    const response = await fetch(form.action, { method: "POST" });
    button.textContent = response.ok ? "Done" : await explain(response);
  } catch {
    button.textContent = "The box cannot be reached";
  }
  button.blur();
  refresh().catch(() => {});
});

const upload = $("#upload");
upload?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = $("#upload-status");
  const button = $("button", upload);
  button.disabled = true;
  status.textContent = "Uploading …";
  try {
    // Fields first: the file is the longest part of the form.
    const form = new FormData();
    for (const [name, value] of [...new FormData(upload)].sort(([, left], [, right]) => (left instanceof File) - (right instanceof File))) form.append(name, value);
    const response = await fetch(upload.action, { method: "POST", body: form });
    status.textContent = response.ok ? "Accepted: it is being read." : await explain(response);
    if (response.ok) upload.reset();
  } catch {
    status.textContent = "The box cannot be reached just now.";
  }
  button.disabled = false;
  button.blur();
  refresh().catch(() => {});
});

follow();
setTimeout(tick, INTERVAL_MS);
