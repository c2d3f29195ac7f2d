"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);

// the library is stored compressed: a third of the size
async function library() {
  const packed = atob(document.getElementById("library").textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const code = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = `(() => {${await new Response(code).text()}})();`; // its names are nobody else's
  document.head.append(script);
}

const drawn = {};

// as wide as the page: charts with one plot fit themselves, rows of plots have to be told without their axes
async function drawChart(name, chart) {
  const box = document.getElementById(name);
  const wide = box.clientWidth > 600;
  const options = {
    renderer: "svg", downloadFileName: name, config: { background: "transparent" },
    actions: wide && { export: true, source: false, compiled: false, editor: false },
  };
  if (!wide) for (const plot of [chart, ...(chart.layer ?? [])]) delete plot.params; // a finger scrolls the page
  let width = box.clientWidth;
  for (let pass = 0; pass < 3; pass++) {
    for (const plot of chart.vconcat ?? [chart]) plot.width = width;
    drawn[name]?.finalize();
    drawn[name] = await vegaEmbed(box, chart, options);
    const excess = box.querySelector(".marks").getBoundingClientRect().width - box.clientWidth;
    if (Math.abs(excess) <= 1) return;
    width -= excess;
  }
}

async function drawAll() {
  for (const [name, chart] of Object.entries(charts)) await drawChart(name, chart);
}

async function draw() {
  await library();
  await drawAll();
  document.body.dataset.drawn = "yes";
  let width = window.innerWidth, waiting;
  window.addEventListener("resize", () => { // not where only a phone's address bar comes and goes
    clearTimeout(waiting);
    if (window.innerWidth !== width) waiting = setTimeout(() => { width = window.innerWidth; drawAll(); }, 200);
  });
}

function sortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        const order = a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
draw().catch((error) => {
  for (const name of Object.keys(charts)) {
    const chart = document.getElementById(name);
    chart.style.minHeight = 0;
    chart.textContent = `This browser cannot draw the chart (${error.message}); figures/ beside this page has it as a picture.`;
  }
  document.body.dataset.drawn = "no";
});
