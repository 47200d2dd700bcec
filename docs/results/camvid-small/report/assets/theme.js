// Light or dark: what the reader chose here before, else what the system asks for. Runs before anything is painted.
(function () {
  "use strict";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const segmi = (window.segmi = window.segmi || {});

  function chosen() {
    try {
      return window.localStorage.getItem("segmi-theme");
    } catch {
      return null; // storage may be forbidden for files
    }
  }

  function apply(theme) {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-pressed", String(theme === "dark"));
    document.dispatchEvent(new CustomEvent("segmi:theme"));
  }

  segmi.toggleTheme = function () {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      window.localStorage.setItem("segmi-theme", theme);
    } catch {
      // it then lasts as long as the page
    }
    apply(theme);
  };

  apply(chosen() || (system.matches ? "dark" : "light"));
  system.addEventListener("change", () => chosen() || apply(system.matches ? "dark" : "light"));

  let before = null; // paper is white
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    apply("light");
  });
  window.addEventListener("afterprint", () => apply(before));
  document.addEventListener("DOMContentLoaded", () => {
    apply(root.dataset.theme);
    const button = document.getElementById("theme");
    if (button) button.addEventListener("click", segmi.toggleTheme);
  });
})();
