// Reloads a served page when its report was rebuilt, and restores scroll position and selections.
(function () {
  "use strict";
  const storageKey = "segmi-position";
  let version = null;
  history.scrollRestoration = "manual"; // the restoration of the browser would interfere

  // Scroll position relative to the current section, because the sections above may grow.
  function scrollPosition() {
    const above = Array.from(document.querySelectorAll("main section[id]")).filter((one) => one.getBoundingClientRect().top <= 0);
    const section = above.pop();
    return section ? { id: section.id, below: -section.getBoundingClientRect().top } : { id: null, below: window.scrollY };
  }

  function goTo({ id, below }) {
    const section = id && document.getElementById(id);
    const start = section ? section.getBoundingClientRect().top + window.scrollY : 0;
    window.scrollTo({ top: start + below, behavior: "instant" });
  }

  const before = sessionStorage.getItem(storageKey);
  if (before) {
    sessionStorage.removeItem(storageKey);
    const { position, choices } = JSON.parse(before);
    window.addEventListener("load", () => {
      for (const [index, value] of choices) {
        const select = document.querySelectorAll("select")[index];
        if (!select || select.value === value) continue;
        select.value = value;
        select.dispatchEvent(new Event("change", { bubbles: true }));
      }
      goTo(position);
    });
  }

  async function checkVersion() {
    const answer = await fetch("/watch/version", { cache: "no-store" }).catch(() => null); // the server may have stopped
    const current = answer && answer.ok ? await answer.text() : version;
    const viewer = document.getElementById("viewer");
    if (version !== null && current !== version && !(viewer && viewer.open)) {
      const choices = Array.from(document.querySelectorAll("select"), (select, index) => [index, select.value]);
      sessionStorage.setItem(storageKey, JSON.stringify({ position: scrollPosition(), choices }));
      window.location.reload();
    } else if (version === null) {
      version = current;
    }
  }

  checkVersion();
  window.setInterval(checkVersion, 2000);
})();
