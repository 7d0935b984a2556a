// What pages do by themselves: copy, update while somebody looks, close what is open, show local time.
// Everything works without it. Nothing here draws: htmx puts in what the server sends.
"use strict";
(() => {
  const USED_MS = 5_000, IDLE_MS = 30_000, IDLE_AFTER_MS = 60_000, MISSES_MAX = 2;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A button that can copy is shown only where it works: browsers allow it behind TLS and on localhost.
  function prepare(root) {
    if (navigator.clipboard) for (const one of all("[data-copy]", root)) one.hidden = false;
    for (const one of all("time[datetime]", root)) {
      const at = new Date(one.dateTime);
      if (!isNaN(at)) one.title = at.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    }
  }

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const label = copy.querySelector("[data-copy-text]");
      const before = label.textContent;
      await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent);
      label.setAttribute("role", "status");
      label.textContent = "Copied";
      setTimeout(() => { label.textContent = before; }, 2_000);
    }
    for (const menu of all("[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of all("[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // A page that is a dialog: its own address, its content over this page; Back and Escape close it.
  // One that belongs beside the page leaves that in use: each hour that is chosen there comes into it.
  const box = document.querySelector("dialog[data-page]"), under = location.pathname, wide = matchMedia("(min-width: 1200px)");
  let opener = null, turn = 0, sending = false, ledBack = false;
  async function open(address, options) {
    // Twice pressed is once meant.
    if (sending) return;
    sending = Boolean(options);
    const mine = ++turn;
    const text = (answer) => answer.text().then((said) => [answer, said]);
    const [answer, said] = await fetch(address, options).then(text).catch(() => []);
    // Closed meanwhile, or something else was asked for.
    if (mine !== turn) return;
    sending = false;
    const inside = box.querySelector("[data-page-content]");
    if (!answer && !options) { location.assign(address); return; }
    if (!answer) {
      // Whether it was taken is not known, so it is not sent again.
      const words = Object.assign(document.createElement("p"), { className: "error", textContent: "No answer came. Look whether it was done before you try again." });
      words.setAttribute("role", "alert");
      inside.prepend(words);
      return;
    }
    const read = new DOMParser().parseFromString(said, "text/html");
    // What went wrong is told here; an address that takes forms has no page of its own.
    const content = read.querySelector("[data-dialog]") || (options && !answer.ok && read.querySelector("main"));
    if (!content) { location.assign(answer.url); return; }
    if (!box.contains(document.activeElement)) opener = document.activeElement;
    inside.replaceChildren(...content.childNodes);
    box.setAttribute("aria-label", box.querySelector("h1").textContent);
    prepare(box);
    const beside = content.dataset.dialog === "beside";
    if (!options) history[history.state === "dialog" ? "replaceState" : "pushState"]("dialog", "", address);
    mark();
    if (box.open && box.matches(".beside") !== beside) box.close();
    box.classList.toggle("beside", beside);
    if (!box.open) box[beside ? "show" : "showModal"]();
    // What was pressed in it is gone.
    if (document.activeElement === document.body) box.querySelector("[data-close]").focus();
    (box.querySelector("[aria-invalid=true], #plan-of") || box.querySelector("h1")).scrollIntoView({ block: "nearest" });
    box.querySelector("[aria-invalid=true]")?.focus();
  }
  if (box) {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[href]");
      if (event.target.closest("dialog[data-page] [data-close]")) box.close();
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      if (box.contains(link) && link.pathname === under) { event.preventDefault(); box.close(); }
      else if (link.matches("[data-opens]") || (wide.matches && link.matches("[data-grid] a")) || (box.contains(link) && link.pathname === location.pathname)) {
        event.preventDefault();
        open(link.href);
      }
    });
    box.addEventListener("submit", (event) => {
      event.preventDefault();
      const { target: form, submitter } = event;
      const action = submitter?.hasAttribute("formaction") ? submitter.formAction : form.action;
      const body = new URLSearchParams(new FormData(form, submitter));
      open(action, { method: "POST", body });
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && box.matches(".beside")) box.close();
    });
    box.addEventListener("close", () => {
      // History has closed it, and may have gone on since; or it only opens in another way.
      const led = ledBack;
      ledBack = false;
      if (led || box.open) return;
      turn += 1;
      sending = false;
      if (history.state === "dialog") history.back();
    });
  }
  addEventListener("popstate", () => {
    // A dialog that was reloaded is a page; going back from it needs the one that it was over.
    if (!box) { if (location.pathname !== under) location.reload(); return; }
    turn += 1;
    sending = false;
    if (history.state === "dialog") { open(location.href); return; }
    ledBack = box.open;
    box.close();
    mark();
    // Going back would leave the focus nowhere.
    opener?.focus();
  });

  // The grid of hours is one tab stop; arrows move in it, and what a cell says stands below.
  let gridAt = "";
  function mark() {
    for (const one of all("[data-grid] a.hour"))
      one.ariaCurrent = location.pathname !== under && one.pathname === location.pathname ? "true" : null;
  }
  function rove(root) {
    for (const grid of all("[data-grid]", root)) {
      const links = all("a.hour", grid);
      const at = links.find((one) => one.id === gridAt) || links[links.length - 1];
      for (const one of links) one.tabIndex = one === at ? 0 : -1;
    }
  }
  const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -24], End: [0, 24], PageUp: [-7, 0], PageDown: [7, 0] };
  document.addEventListener("keydown", (event) => {
    const move = MOVES[event.key], cell = event.target.closest?.("[data-grid] td");
    if (!move || !cell) return;
    event.preventDefault();
    const lines = [...cell.closest("tbody").rows], clamp = (n, most) => Math.max(0, Math.min(n, most));
    const row = clamp(lines.indexOf(cell.parentElement) + move[0], lines.length - 1);
    const column = clamp(cell.cellIndex + move[1], 24);
    lines[row].cells[Math.max(1, column)].querySelector("a")?.focus();
  });
  function said(event) {
    const cell = event.target.closest?.("[data-grid] .hour");
    if (!cell) return;
    if (event.type === "focusin") { gridAt = cell.id; rove(document); }
    const line = cell.closest("section").querySelector("[data-grid-said]");
    if (line) line.textContent = cell.getAttribute("aria-label");
  }
  document.addEventListener("focusin", said);
  document.addEventListener("pointerover", said);

  // Count down by the service's clock, which need not be this machine's.
  const skew = Date.parse(document.documentElement.dataset.now) - Date.now();
  setInterval(() => {
    for (const one of all("[data-until]")) {
      const left = Math.max(0, Math.round((Date.parse(one.dataset.until) - Date.now() - skew) / 1000));
      one.textContent = `in ${Math.floor(left / 60)}m ${String(left % 60).padStart(2, "0")}s`;
    }
  }, 1_000);

  // Live parts get a "tick" while the page is seen: often while it is used, seldom otherwise.
  let used = Date.now(), ticked = Date.now(), misses = 0, reached = new Date();
  for (const kind of ["pointermove", "keydown", "scroll", "focus"])
    addEventListener(kind, () => { used = Date.now(); }, { passive: true });
  function tick() {
    ticked = Date.now();
    // What somebody has opened to read stays as it is.
    for (const one of all("[data-live]"))
      if (!one.querySelector("details[open]")) one.dispatchEvent(new CustomEvent("tick"));
  }
  setInterval(() => {
    if (document.hidden) return;
    const every = Date.now() - used < IDLE_AFTER_MS ? USED_MS : IDLE_MS;
    if (Date.now() - ticked >= every) tick();
  }, 500);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { used = Date.now(); tick(); } });

  const stale = document.querySelector("[data-stale]");
  function missed() {
    misses += 1;
    if (misses < MISSES_MAX || !stale) return;
    const since = reached.toISOString().slice(11, 19);
    stale.textContent = `Not updating since ${since} UTC. Trying again.`;
    stale.hidden = false;
    // What is shown stays, but is told to be old.
    for (const one of all("[data-live]")) one.classList.add("behind");
    for (const one of all("[data-as-of]")) { one.textContent = `as of ${since} UTC`; one.hidden = false; }
  }
  document.addEventListener("htmx:error", missed);
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.raw?.status;
    if (status >= 500) { missed(); return; }
    if (status === 401 && stale) {
      stale.textContent = "You are signed out. Sign in in another tab, and this page goes on.";
      stale.hidden = false;
      return;
    }
    misses = 0;
    reached = new Date();
    if (stale) stale.hidden = true;
    for (const one of all(".behind")) one.classList.remove("behind");
    for (const one of all("[data-as-of]")) one.hidden = true;
  });
  // A busy server's page is no update, nor is one that keeps out whoever has this page open.
  document.addEventListener("htmx:before:swap", (event) => {
    const response = event.detail?.ctx?.response;
    if (response && (response.status >= 500 || [401, 403, 404].includes(response.status))) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", () => { prepare(document); rove(document); mark(); });

  prepare(document);
  rove(document);
  document.querySelector("[aria-invalid=true]")?.focus();
})();
