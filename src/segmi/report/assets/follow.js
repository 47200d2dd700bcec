// On a page that is served while a study runs: load it again when the report was written anew, where the reader was.
(function () {
  "use strict";
  const place = "segmi-place";
  let version = null;

  const before = sessionStorage.getItem(place);
  if (before) {
    sessionStorage.removeItem(place);
    const { top, choices } = JSON.parse(before);
    window.addEventListener("load", () => {
      for (const [index, value] of choices) {
        const select = document.querySelectorAll("select")[index];
        if (!select || select.value === value) continue;
        select.value = value;
        select.dispatchEvent(new Event("change", { bubbles: true }));
      }
      window.scrollTo({ top, behavior: "instant" });
    });
  }

  async function look() {
    const answer = await fetch("/watch/version", { cache: "no-store" }).catch(() => null); // the server may have ended
    const found = answer && answer.ok ? await answer.text() : version;
    const viewer = document.getElementById("viewer");
    if (version !== null && found !== version && !(viewer && viewer.open)) {
      const choices = Array.from(document.querySelectorAll("select"), (select, index) => [index, select.value]);
      sessionStorage.setItem(place, JSON.stringify({ top: window.scrollY, choices }));
      window.location.reload();
    } else if (version === null) {
      version = found;
    }
  }

  look();
  window.setInterval(look, 2000);
})();
