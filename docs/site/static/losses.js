// Filter and sort the table of all losses on losses/index.html. Without scripts, the whole table is shown.
"use strict";

function prepareLosses() {
    const table = document.querySelector("#all-losses table");
    if (!table) return;
    table.classList.add("loss-table");
    const rows = [...table.tBodies[0].rows];
    const headers = [...table.tHead.rows[0].cells];
    const column = (name) => headers.findIndex((cell) => cell.textContent.trim() === name);
    const text = (row, index) => row.cells[index].textContent.trim();

    const form = document.createElement("form");
    form.className = "loss-filter";
    form.addEventListener("submit", (event) => event.preventDefault());
    const labeled = (name, field) => {
        const label = document.createElement("label");
        label.append(name, field);
        form.append(label);
        return field;
    };
    const words = labeled("Name or effect", document.createElement("input"));
    words.type = "search";
    const choices = (name, index) => {
        const select = labeled(name, document.createElement("select"));
        select.append(new Option("any", ""));
        for (const value of new Set(rows.map((row) => text(row, index)))) select.append(new Option(value, value));
        return select;
    };
    const family = choices("Family", column("family"));
    const required = choices("Requires", column("requires"));
    const slowest = labeled("Time at most", document.createElement("select"));
    for (const [label, value] of [["any", ""], ["1 × cross-entropy", "1"], ["3 ×", "3"], ["10 ×", "10"]]) {
        slowest.append(new Option(label, value));
    }
    const count = document.createElement("output");
    form.append(count);

    function apply() {
        const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
        let shown = 0;
        for (const row of rows) {
            const all = row.textContent.toLowerCase();
            row.hidden =
                !wanted.every((word) => all.includes(word)) ||
                (family.value && text(row, column("family")) !== family.value) ||
                (required.value && text(row, column("requires")) !== required.value) ||
                (slowest.value && !(parseFloat(text(row, column("time"))) <= parseFloat(slowest.value)));
            shown += row.hidden ? 0 : 1;
        }
        count.textContent = `${shown} of ${rows.length} losses`;
    }

    function sortBy(index, button) {
        const header = headers[index];
        const order = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        headers.forEach((cell) => cell.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const sorted = [...rows].sort((a, b) =>
            sign * text(a, index).localeCompare(text(b, index), "en", { numeric: true }));
        table.tBodies[0].append(...sorted);
        button.focus();
    }

    headers.forEach((cell, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = cell.textContent.trim();
        button.addEventListener("click", () => sortBy(index, button));
        cell.replaceChildren(button);
    });
    form.addEventListener("input", apply);
    (table.closest(".table-wrapper") ?? table).before(form);
    apply();
}

document.addEventListener("DOMContentLoaded", prepareLosses);
