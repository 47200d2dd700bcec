// Draws the charts with Plotly when they are near the viewport, in the colors of the theme.
(function () {
  "use strict";
  const segmi = (window.segmi = window.segmi || {});
  const figures = segmi.charts || {};
  const drawn = new Map(); // chart element → key of its current figure
  const config = { displayModeBar: false, displaylogo: false, responsive: true, doubleClick: "reset" };
  const PAPER = 680; // width of a sheet of A4 or letter paper, in CSS pixels
  let printing = false;
  const touch = window.matchMedia("(pointer: coarse)").matches;

  // "var(--name)" or "var(--name)@0.2" in a figure is replaced by the color.
  function colored(value, style) {
    if (Array.isArray(value)) return value.map((entry) => colored(entry, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, colored(entry, style)]));
    }
    const match = typeof value === "string" && value.match(/^var\((--[\w-]+)\)(?:@([\d.]+))?$/);
    if (!match) return value;
    const color = style.getPropertyValue(match[1]).trim();
    if (!match[2]) return color;
    const channels = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
    return `rgba(${channels.join(",")},${match[2]})`;
  }

  function axis() {
    return {
      gridcolor: "var(--grid)", zerolinecolor: "var(--faint)", zerolinewidth: 1, linecolor: "var(--line)",
      tickfont: { color: "var(--soft)", size: 12 }, tickcolor: "var(--line)", automargin: true, title: { standoff: 12 },
    };
  }

  function base(narrow) {
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: "var(--soft)" },
      paper_bgcolor: "var(--card)", plot_bgcolor: "var(--card)", colorway: ["var(--model-0)"],
      margin: { l: narrow ? 48 : 64, r: narrow ? 12 : 24, t: 20, b: 50 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: "var(--ink)" } },
      hoverlabel: { bgcolor: "var(--card)", bordercolor: "var(--line)", font: { color: "var(--ink)" } },
      dragmode: touch ? false : "zoom", separators: ".,", xaxis: axis(), yaxis: axis(),
    };
  }

  function merged(under, over) {
    const result = { ...under };
    for (const [key, value] of Object.entries(over || {})) {
      const both = value && typeof value === "object" && !Array.isArray(value) && result[key] && typeof result[key] === "object";
      result[key] = both ? merged(result[key], value) : value;
    }
    return result;
  }

  function keyOf(chart) {
    return Array.from(chart.querySelectorAll(".controls select"), (select) => select.value).join("|");
  }

  // A long legend needs several lines above the plot; the chart grows by them.
  function legendLines(data, width) {
    const named = data.filter((trace) => trace.name && trace.showlegend !== false && trace.type !== "heatmap");
    let [lines, along] = [1, 0];
    const widest = Math.max(0, ...named.map((trace) => 54 + 7 * trace.name.length));
    for (const _ of named) {
      if (along && along + widest > width) [lines, along] = [lines + 1, 0];
      along += widest;
    }
    return lines;
  }

  // On a narrow screen the cells of a matrix are too small for numbers; a tap shows them.
  function withoutNumbers(trace) {
    return trace.type === "heatmap" ? { ...trace, texttemplate: "", showscale: false } : trace;
  }

  function draw(chart) {
    const key = keyOf(chart);
    const figure = (figures[chart.dataset.chart] || {})[key];
    const plot = chart.querySelector(".plot");
    plot.hidden = !figure;
    chart.querySelector(".gap").hidden = Boolean(figure);
    drawn.set(chart, key);
    if (!figure || !window.Plotly) return;
    const style = getComputedStyle(document.documentElement);
    const width = printing ? PAPER : plot.clientWidth;
    const narrow = width < 560;
    plot.dataset.height = plot.dataset.height || parseFloat(plot.style.height);
    const above = 20 * (legendLines(figure.data, width - (narrow ? 60 : 88)) - 1);
    plot.style.height = `${Number(plot.dataset.height) + above}px`;
    const layout = merged(merged(base(narrow), figure.layout), printing ? { width, autosize: false } : { autosize: true });
    for (const name of Object.keys(layout)) if (/^[xy]axis\d+$/.test(name)) layout[name] = merged(axis(), layout[name]);
    if (narrow && layout.hovermode === "x unified") layout.hovermode = "closest";
    const fresh = colored({ data: narrow ? figure.data.map(withoutNumbers) : figure.data, layout: layout }, style);
    window.Plotly.react(plot, fresh.data, fresh.layout, config);
  }

  function range(plot, name) {
    const full = plot._fullLayout && plot._fullLayout[name];
    return full && !full.fixedrange ? full.range.map(Number) : null;
  }

  function change(plot, scale, shift) {
    const update = {};
    for (const name of ["xaxis", "yaxis"]) {
      const [low, high] = range(plot, name) || [];
      if (low === undefined || plot._fullLayout[name].type === "category") continue;
      const along = (name === "xaxis" ? shift[0] : shift[1]) * (high - low);
      const middle = (low + high) / 2 + along;
      const half = ((high - low) / 2) * scale;
      update[`${name}.range`] = [middle - half, middle + half];
    }
    window.Plotly.relayout(plot, update);
  }

  const tools = {
    in: (plot) => change(plot, 0.7, [0, 0]),
    out: (plot) => change(plot, 1 / 0.7, [0, 0]),
    reset: (plot, chart) => { window.Plotly.purge(plot); draw(chart); },
    svg: (plot, chart) => window.Plotly.downloadImage(plot, {
      format: "svg", filename: chart.dataset.chart, width: plot.clientWidth, height: plot.clientHeight,
    }),
  };
  const keys = {
    "+": tools.in, "=": tools.in, "-": tools.out, 0: tools.reset,
    ArrowLeft: (plot) => change(plot, 1, [-0.1, 0]), ArrowRight: (plot) => change(plot, 1, [0.1, 0]),
    ArrowUp: (plot) => change(plot, 1, [0, 0.1]), ArrowDown: (plot) => change(plot, 1, [0, -0.1]),
  };

  function prepare(chart, watcher) {
    const plot = chart.querySelector(".plot");
    for (const select of chart.querySelectorAll(".controls select")) select.addEventListener("change", () => draw(chart));
    for (const button of chart.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => drawn.has(chart) && tools[button.dataset.tool](plot, chart));
    }
    plot.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
      if (!act || !drawn.has(chart)) return;
      event.preventDefault();
      act(plot, chart);
    });
    watcher.observe(chart);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watcher.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "300px" });
    for (const chart of document.querySelectorAll("[data-chart]")) prepare(chart, watcher);
  });
  document.addEventListener("segmi:theme", () => drawn.forEach((_, chart) => draw(chart)));
  window.addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("[data-chart]").forEach(draw);
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    drawn.forEach((_, chart) => draw(chart));
  });
})();
