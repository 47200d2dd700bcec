// Gallery: a row per image, filled when it is near the viewport; views, sort orders and legend.
(function () {
  "use strict";
  const segmi = (window.segmi = window.segmi || {});
  const byId = (id) => document.getElementById(id);
  const state = { gallery: null, view: "prediction", order: "split", classId: null, rows: [], hidden: new Set() };
  const SIDE_BY_SIDE = 5; // number of methods shown at first
  let watcher = null;

  function make(tag, classes, text) {
    const element = document.createElement(tag);
    if (classes) element.className = classes;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  // The file of a layer: "image", "truth", or a method's "prediction", "errors", "confidence".
  function source(gallery, row, layer, method, large) {
    const name = method ? `${row.name}.${method}.${layer}` : `${row.name}.${layer}`;
    const folder = `gallery/${encodeURIComponent(gallery.name)}/${row.small && !large ? "small/" : ""}`;
    return folder + encodeURIComponent(`${name}.${layer === "image" ? "jpg" : "png"}`);
  }

  function image(src, classes, alt) {
    const image = new Image();
    image.decoding = "async";
    image.draggable = false; // otherwise dragging the boundary drags the image
    image.className = classes;
    image.alt = alt;
    image.src = src;
    return image;
  }

  // Image elements of a layer: errors are drawn over the photograph.
  function images(gallery, row, layer, method, large, alt) {
    const shown = source(gallery, row, layer, method, large);
    if (layer === "image") return [image(shown, "", alt)];
    if (layer === "errors") {
      const below = row.layers.image ? [image(source(gallery, row, "image", null, large), "gray", "")] : [];
      return [...below, image(shown, "exact", alt)];
    }
    return [image(shown, "exact", alt)];
  }

  // Layer of a method to show in a view: the requested one if it exists, else another; null without any.
  function layerOf(row, method, view) {
    const layers = row.layers[method] || [];
    return layers.includes(view) ? view : layers.includes("prediction") ? "prediction" : layers[0] || null;
  }

  function reason(row, column) {
    return row.unreadable.some((layer) => layer.split(".")[0] === column.name || layer === `${column.name}.prediction`)
      ? "unreadable" : column.state || "no image";
  }

  function cell(gallery, row, layer, method, label, number) {
    const words = { image: "photograph", truth: "ground truth", prediction: "prediction", errors: "errors", confidence: "confidence" };
    const button = make("button", "cell");
    button.type = "button";
    button.dataset.method = method || layer;
    const frame = make("span", "frame");
    const what = method ? `${label}, ${words[layer]}` : words[layer];
    frame.append(...images(gallery, row, layer, method, false, `${what}, image ${row.name}`));
    const caption = make("span", "caption");
    caption.append(make("b", "", label), make("span", "", number === null || number === undefined ? "" : number.toFixed(2)));
    button.append(frame, caption);
    button.addEventListener("click", () => segmi.openViewer(state, row, method, button));
    return button;
  }

  function score(row, method) {
    const scores = row.scores[method.name];
    if (!scores) return null;
    return state.order === "class" ? (scores.iou[state.classId] ?? null) : scores.mean;
  }

  function methods() {
    return state.gallery.methods.filter((one) => !state.hidden.has(one.name));
  }

  function fill(element) {
    const row = element.segmiRow;
    const gallery = state.gallery;
    const cells = make("div", "cells");
    for (const column of [{ name: "image", label: "Image" }, { name: "truth", label: "Truth" }]) {
      cells.append(row.layers[column.name] ? cell(gallery, row, column.name, null, column.label) : gap(row, column));
    }
    for (const method of methods()) {
      const layer = layerOf(row, method.name, state.view);
      cells.append(layer ? cell(gallery, row, layer, method.name, method.label, score(row, method)) : gap(row, method));
    }
    element.querySelector(".cells").replaceWith(cells);
    element.dataset.filled = "yes";
  }

  function gap(row, column) {
    const element = make("div", "nothing");
    const caption = make("span", "caption");
    caption.append(make("b", "", column.label));
    element.append(make("div", "gapcell", reason(row, column)), caption);
    return element;
  }

  function rowElement(row) {
    const element = make("li", "row");
    element.segmiRow = row;
    element.style.setProperty("--shape", `${row.size[0]} / ${row.size[1]}`);
    const heading = make("h3", "", row.name);
    if (state.gallery.methods.length > 1) heading.append(make("span", "", `methods disagree on ${(100 * row.disagreement).toFixed(1)} % of pixels`));
    element.append(heading, make("div", "cells"));
    return element;
  }

  function mean(values) {
    const known = values.filter((value) => value !== null && value !== undefined);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  }

  function ordered(gallery) {
    const scores = (row) => methods().map((one) => row.scores[one.name]).filter(Boolean);
    const rows = gallery.rows.map((row, index) => ({ row, index }));
    const by = {
      split: () => 0,
      disagreement: ({ row }) => -row.disagreement,
      worst: ({ row }) => mean(scores(row).map((one) => one.mean)) ?? 2,
      class: ({ row }) => mean(scores(row).map((one) => one.iou[state.classId])) ?? 2,
    }[state.order];
    const kept = state.order === "class" ? rows.filter(({ row }) => state.classId in row.shares) : rows;
    return kept.map((entry) => ({ ...entry, key: by(entry) })).sort((a, b) => a.key - b.key || a.index - b.index).map(({ row }) => row);
  }

  function drawLegend(element, gallery, view) {
    const entries = [];
    const add = (style, text, classes) => {
      const item = make("li");
      const swatch = make("i", classes);
      if (style) swatch.style.background = style;
      item.append(swatch, make("span", "", text));
      entries.push(item);
    };
    if (view === "errors") {
      add("#d55e00", "wrong");
      add("#808080", "ignored pixels");
    } else if (view === "confidence") {
      add("", "confidence from 0 to 1", "ramp");
    }
    gallery.classes.filter((one) => one.seen).forEach((one) => add(one.color, one.name)); // every view shows the ground truth
    add("#ffffff", "ignored");
    element.replaceChildren(...entries);
  }

  function drawRows() {
    const list = byId("g-rows");
    const gallery = state.gallery;
    state.rows = ordered(gallery);
    list.style.setProperty("--columns", methods().length + 2);
    const width = Math.max(list.clientWidth, 1) / (methods().length + 2);
    if (watcher) watcher.disconnect();
    watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); fill(entry.target); }
    }, { root: list.parentElement, rootMargin: "900px 0px" });
    const elements = state.rows.map((row) => {
      const element = rowElement(row);
      element.style.setProperty("--guess", `${Math.round((width * row.size[1]) / row.size[0] + 58)}px`);
      return element;
    });
    list.replaceChildren(...elements);
    elements.forEach((element) => watcher.observe(element));
    byId("g-count").textContent = `${state.rows.length} of ${gallery.rows.length} images`;
    drawLegend(byId("g-legend"), gallery, state.view);
    byId("g-seed").textContent = `seed ${gallery.seed}`;
  }

  // Check boxes of the methods to show; sort orders use their scores only.
  function drawMethodBoxes(gallery) {
    const boxes = gallery.methods.map((one, index) => {
      const label = make("label", "check");
      const box = make("input");
      box.type = "checkbox";
      box.value = one.name;
      box.checked = index < SIDE_BY_SIDE;
      label.append(box, make("span", "", one.label));
      return label;
    });
    byId("g-boxes").replaceChildren(...boxes);
    byId("g-methods").hidden = gallery.methods.length < 2;
    selectMethods();
  }

  function selectMethods() {
    const boxes = Array.from(document.querySelectorAll("#g-boxes input"));
    state.hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    byId("g-selected").textContent = state.hidden.size ? `${boxes.length - state.hidden.size} of ${boxes.length}` : "all";
  }

  function showDataset(index) {
    const gallery = (state.gallery = segmi.galleries[index]);
    drawMethodBoxes(gallery);
    const classes = byId("g-class");
    const present = gallery.classes.filter((one) => gallery.rows.some((row) => one.id in row.shares));
    classes.replaceChildren(...present.map((one) => new Option(one.name, one.id)));
    state.classId = classes.value;
    for (const input of document.querySelectorAll("#g-view input")) {
      input.disabled = input.value === "confidence" && !gallery.confidence;
      if (input.disabled && input.checked) document.querySelector("#g-view input").click();
    }
    drawRows();
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!byId("gallery") || !segmi.galleries || !segmi.galleries.length) return;
    document.querySelector("#gallery .controls").hidden = false;
    byId("g-dataset").addEventListener("change", (event) => showDataset(Number(event.target.value)));
    byId("g-view").addEventListener("change", (event) => {
      state.view = event.target.value;
      document.querySelectorAll("#g-rows .row[data-filled]").forEach((row) => {
        delete row.dataset.filled;
        watcher.observe(row);
      });
      drawLegend(byId("g-legend"), state.gallery, state.view);
    });
    byId("g-boxes").addEventListener("change", () => {
      selectMethods();
      drawRows();
    });
    byId("g-order").addEventListener("change", (event) => {
      state.order = event.target.value;
      byId("g-class").disabled = state.order !== "class";
      drawRows();
    });
    byId("g-class").addEventListener("change", (event) => {
      state.classId = event.target.value;
      drawRows();
    });
    showDataset(0);
  });
  window.addEventListener("beforeprint", () => {
    Array.from(document.querySelectorAll("#g-rows .row")).slice(0, 12).forEach((row) => row.dataset.filled || fill(row));
  });
  Object.assign(segmi, { galleryImages: images, galleryLegend: drawLegend, galleryLayer: layerOf });
})();
