// On a page that is served while a study runs: load it again when the report was written anew, where the reader was.
(function () {
  "use strict";
  const place = "segmi-place";
  let version = null;
  history.scrollRestoration = "manual"; // the browser's own would come in between

  // Where the reader is: how far below the beginning of which section, since what lies above may grow.
  function standing() {
    const begun = Array.from(document.querySelectorAll("main section[id]")).filter((one) => one.getBoundingClientRect().top <= 0);
    const section = begun.pop();
    return section ? { id: section.id, below: -section.getBoundingClientRect().top } : { id: null, below: window.scrollY };
  }

  function goTo({ id, below }) {
    const section = id && document.getElementById(id);
    const begins = section ? section.getBoundingClientRect().top + window.scrollY : 0;
    window.scrollTo({ top: begins + below, behavior: "instant" });
  }

  const before = sessionStorage.getItem(place);
  if (before) {
    sessionStorage.removeItem(place);
    const { stood, choices } = JSON.parse(before);
    window.addEventListener("load", () => {
      for (const [index, value] of choices) {
        const select = document.querySelectorAll("select")[index];
        if (!select || select.value === value) continue;
        select.value = value;
        select.dispatchEvent(new Event("change", { bubbles: true }));
      }
      goTo(stood);
    });
  }

  async function look() {
    const answer = await fetch("/watch/version", { cache: "no-store" }).catch(() => null); // the server may have ended
    const found = answer && answer.ok ? await answer.text() : version;
    const viewer = document.getElementById("viewer");
    if (version !== null && found !== version && !(viewer && viewer.open)) {
      const choices = Array.from(document.querySelectorAll("select"), (select, index) => [index, select.value]);
      sessionStorage.setItem(place, JSON.stringify({ stood: standing(), choices }));
      window.location.reload();
    } else if (version === null) {
      version = found;
    }
  }

  look();
  window.setInterval(look, 2000);
})();
