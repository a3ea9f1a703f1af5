// Draws the figures in the page's own colours, again when the scheme changes, and for paper.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: false };

  const isColour = (key) => /color|colorscale$/i.test(key);

  // Under a key that names a colour, "--accent" stands for the value of that CSS variable.
  function painted(node, style, colour) {
    if (typeof node === "string") {
      return colour && node.startsWith("--") ? style.getPropertyValue(node).trim() : node;
    }
    if (Array.isArray(node)) return node.map((item) => painted(item, style, colour));
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(
      Object.entries(node).map(([key, value]) => [key, painted(value, style, isColour(key))]),
    );
  }

  function draw() {
    const style = getComputedStyle(root);
    const family = getComputedStyle(document.body).fontFamily;
    for (const [id, figure] of Object.entries(figures)) {
      const place = document.getElementById(id);
      const { data, layout } = painted(figure, style, false);
      layout.font.family = family;
      layout.width = place.clientWidth;
      layout.autosize = false;
      Plotly.react(place, data, layout, config);
    }
  }

  let waiting = 0;
  function drawSoon() {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  }

  let opened = [];
  function toPaper() {
    root.classList.add("paper");
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const each of opened) each.open = true;
    draw();
  }
  function toScreen() {
    root.classList.remove("paper");
    for (const each of opened) each.open = false;
    draw();
  }

  draw();
  let width = root.clientWidth;
  addEventListener("resize", () => {
    if (root.clientWidth !== width) {
      width = root.clientWidth;
      drawSoon();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", toScreen);
})();
