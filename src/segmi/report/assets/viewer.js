// Enlarged image: two layers on top of each other with a sliding boundary.
(function () {
  "use strict";
  const segmi = (window.segmi = window.segmi || {});
  const byId = (id) => document.getElementById(id);
  let gallery = null;
  let row = null;
  let rows = [];
  let opener = null;

  function nameOf(value) {
    if (value === "image") return "Image";
    if (value === "truth") return "Truth";
    return gallery.methods.find((one) => one.name === value.slice(2)).label;
  }

  function viewNow() {
    return document.querySelector("#v-view input:checked").value;
  }

  function show(element, value) {
    const plain = value === "image" || value === "truth";
    const method = plain ? null : value.slice(2);
    const layer = plain ? value : segmi.galleryLayer(row, method, viewNow());
    element.replaceChildren();
    if (!layer || !row.layers[method || value]) return;
    const images = segmi.galleryImages(gallery, row, layer, method, true, `${nameOf(value)}, image ${row.name}`);
    element.append(...images);
  }

  function draw() {
    const stage = byId("v-stage");
    stage.style.setProperty("--shape", `${row.size[0]} / ${row.size[1]}`);
    stage.style.setProperty("--wide", row.size[0] / row.size[1]);
    byId("v-title").textContent = row.name;
    byId("v-position").textContent = `${rows.indexOf(row) + 1} of ${rows.length}`;
    show(byId("v-over"), byId("v-left").value);
    show(byId("v-under"), byId("v-right").value);
    byId("v-left-name").textContent = `◧ ${nameOf(byId("v-left").value)}`;
    byId("v-right-name").textContent = `${caption(byId("v-right").value)} ◨`;
    segmi.galleryLegend(byId("v-legend"), gallery, viewNow());
  }

  function caption(value) {
    const scores = value.startsWith("m:") ? row.scores[value.slice(2)] : null;
    return nameOf(value) + (scores && scores.mean !== null ? `, mean IoU ${scores.mean.toFixed(3)}` : "");
  }

  function cut(value) {
    const percent = Math.min(100, Math.max(0, value));
    byId("v-cut").value = percent;
    byId("v-stage").style.setProperty("--cut", `${percent}%`);
  }

  function step(by) {
    row = rows[(rows.indexOf(row) + by + rows.length) % rows.length];
    draw();
  }

  segmi.openViewer = function (state, selectedRow, method, button) {
    [gallery, row, rows, opener] = [state.gallery, selectedRow, state.rows, button];
    const methods = gallery.methods.map((one) => ["m:" + one.name, one.label]);
    const options = [["truth", "Truth"], ["image", "Image"], ...methods];
    for (const id of ["v-left", "v-right"]) byId(id).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    byId("v-left").value = "truth";
    byId("v-right").value = method ? "m:" + method : methods.length ? methods[0][0] : "image";
    for (const input of document.querySelectorAll("#v-view input")) {
      input.checked = input.value === state.view;
      input.disabled = input.value === "confidence" && !gallery.confidence;
    }
    cut(50);
    draw();
    byId("viewer").showModal();
    byId("v-cut").focus();
  };

  function slideWith(stage) {
    const move = (event) => {
      const box = stage.getBoundingClientRect();
      cut((100 * (event.clientX - box.left)) / box.width);
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      move(event);
    });
    stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && move(event));
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const number = Number(event.key);
    if (event.key === "n" || event.key === "PageDown") step(1);
    else if (event.key === "p" || event.key === "PageUp") step(-1);
    else if (number >= 1 && number <= gallery.methods.length) {
      byId("v-right").value = "m:" + gallery.methods[number - 1].name;
      draw();
    } else return;
    event.preventDefault();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const dialog = byId("viewer");
    if (!dialog) return;
    byId("v-close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => opener && opener.isConnected && opener.focus());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // outside the image
    dialog.addEventListener("keydown", onKey);
    for (const id of ["v-left", "v-right", "v-view"]) byId(id).addEventListener("change", draw);
    byId("v-cut").addEventListener("input", (event) => cut(Number(event.target.value)));
    byId("v-previous").addEventListener("click", () => step(-1));
    byId("v-next").addEventListener("click", () => step(1));
    slideWith(byId("v-stage"));
  });
})();
