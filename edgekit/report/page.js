// Draws the two plots in the page's colours, again when the scheme changes, and in light ones on paper.
(() => {
  "use strict";
  const PAPER_WIDTH = 960;
  const SIZE = 12.5;
  const NAMES = ["ink", "dim", "grid", "paper", "sample", "line", "p50", "p95", "base", "over", "alarm"];
  const root = document.documentElement;

  const palette = () => {
    const style = getComputedStyle(root);
    return Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };

  // A copy of the figure in which every "color" that is one of our words has become a colour.
  const painted = (value, colors, key) => {
    if (Array.isArray(value)) return value.map((inner) => painted(inner, colors, ""));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, colors, k)]));
    }
    return key === "color" && Object.hasOwn(colors, value) ? colors[value] : value;
  };

  const axis = (given, colors) => ({
    gridcolor: colors.grid, linecolor: colors.grid, zerolinecolor: colors.grid, tickcolor: colors.grid, ...given,
    title: { ...given.title, font: { size: SIZE, color: colors.dim }, standoff: 10 },
  });

  const draw = (element, printing) => {
    const colors = palette();
    const figure = painted(JSON.parse(document.getElementById(element.dataset.figure).textContent), colors, "");
    const layout = figure.layout;
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: SIZE, color: colors.ink };
    layout.hoverlabel = { bgcolor: colors.paper, bordercolor: colors.grid, font: { color: colors.ink } };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: colors.dim, activecolor: colors.ink };
    for (const name of ["xaxis", "xaxis2", "yaxis"]) {
      if (layout[name]) layout[name] = axis(layout[name], colors);
    }
    if (printing) layout.width = PAPER_WIDTH;
    const config = { displaylogo: false, responsive: !printing, modeBarButtonsToRemove: ["select2d", "lasso2d"] };
    return Plotly.react(element, figure.data, layout, config);
  };

  const drawAll = (printing) => {
    root.classList.toggle("printing", printing);
    document.querySelectorAll("[data-figure]").forEach((element) => draw(element, printing));
  };

  drawAll(false);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(false));
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    drawAll(true);
  });
  addEventListener("afterprint", () => drawAll(false));
})();
