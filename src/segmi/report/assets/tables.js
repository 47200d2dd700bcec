// Sorts tables by a click on a header, opens sections for printing, and highlights the current section.
(function () {
  "use strict";

  function valueOf(row, column) {
    const cell = row.cells[column];
    if (!cell) return "";
    return cell.dataset.value !== undefined ? Number(cell.dataset.value) : cell.textContent.trim();
  }

  function compare(one, other) {
    const numbers = [typeof one === "number", typeof other === "number"];
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1; // missing values go last
    return numbers[0] ? one - other : String(one).localeCompare(String(other));
  }

  function sort(table, header) {
    const column = header.cellIndex;
    const numeric = Array.from(table.tBodies[0].rows).some((row) => typeof valueOf(row, column) === "number");
    const first = numeric ? "descending" : "ascending";
    const now = header.getAttribute("aria-sort");
    const next = !now ? first : now === first ? (first === "ascending" ? "descending" : "ascending") : null;
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    const rows = Array.from(table.tBodies[0].rows);
    if (next) {
      header.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      rows.sort((a, b) => {
        const values = [valueOf(a, column), valueOf(b, column)];
        const gaps = typeof values[0] !== typeof values[1];
        return (gaps ? 1 : sign) * compare(values[0], values[1]) || a.dataset.index - b.dataset.index;
      });
    } else {
      rows.sort((a, b) => a.dataset.index - b.dataset.index);
    }
    table.tBodies[0].replaceChildren(...rows);
    document.getElementById("announcement").textContent = next ? `Sorted by ${header.textContent}, ${next}` : "Original order";
  }

  function makeSortable(table) {
    Array.from(table.tBodies[0].rows).forEach((row, index) => (row.dataset.index = index));
    for (const header of table.tHead.rows[table.tHead.rows.length - 1].querySelectorAll("th")) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort";
      button.append(...header.childNodes);
      if (header.hasAttribute("aria-label")) {
        button.setAttribute("aria-label", header.getAttribute("aria-label"));
        header.removeAttribute("aria-label");
      }
      header.append(button);
      button.addEventListener("click", () => sort(table, header));
    }
  }

  function followSections() {
    const links = new Map(Array.from(document.querySelectorAll(".contents li a"), (link) => [link.hash.slice(1), link]));
    const inSight = new Set();
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.isIntersecting ? inSight.add(entry.target.id) : inSight.delete(entry.target.id);
      const current = Array.from(links.keys()).find((id) => inSight.has(id));
      links.forEach((link, id) => (id === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
    }, { rootMargin: "-12% 0px -70% 0px" });
    for (const id of links.keys()) if (document.getElementById(id)) watcher.observe(document.getElementById(id));
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("table.sortable").forEach(makeSortable);
    followSections();
    const differing = document.getElementById("differing");
    if (differing) {
      differing.addEventListener("change", () => differing.closest(".settings").classList.toggle("differing", differing.checked));
    }
  });
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    for (const one of opened) one.open = true;
  });
  window.addEventListener("afterprint", () => opened.forEach((one) => (one.open = false)));
})();
