// Let the keyboard scroll code, tables and formulas that are wider than the page.
"use strict";

function makeScrollable() {
    for (const box of document.querySelectorAll("pre, .table-wrapper, .formula")) {
        if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
        else box.removeAttribute("tabindex");
    }
}

window.addEventListener("load", makeScrollable);
window.addEventListener("resize", makeScrollable);
