"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);

// plotly is stored compressed: a third of the size
async function library() {
  const packed = atob(document.getElementById("plotly").textContent.trim());
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const code = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(code).text();
  document.head.append(script);
}

function ink() {
  return getComputedStyle(document.body).color;
}

async function draw() {
  await library();
  const narrow = window.matchMedia("(max-width: 600px)").matches;
  const options = { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover" };
  for (const [name, chart] of Object.entries(charts)) {
    const layout = { ...chart.layout, font: { ...chart.layout.font, color: ink() } };
    if (!narrow) layout.dragmode = "zoom"; // on a phone a finger on a chart scrolls the page
    await Plotly.newPlot(name, chart.data, layout, options);
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const name of Object.keys(charts)) Plotly.relayout(name, { "font.color": ink() });
  });
  document.body.dataset.drawn = "yes";
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
