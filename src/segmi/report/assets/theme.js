// Light or dark theme: the stored choice, else the preference of the system. Runs before the first paint.
(function () {
  "use strict";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const segmi = (window.segmi = window.segmi || {});

  function storedTheme() {
    try {
      return window.localStorage.getItem("segmi-theme");
    } catch {
      return null; // storage may be disabled for files
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
      // the choice then applies to this page only
    }
    apply(theme);
  };

  apply(storedTheme() || (system.matches ? "dark" : "light"));
  system.addEventListener("change", () => storedTheme() || apply(system.matches ? "dark" : "light"));

  let before = null; // pages are printed in the light theme
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
