"use strict";
// Show only some rows of the slide table. Without script it is still whole.
(function () {
  const table = document.getElementById("slides");
  if (!table) return;
  const body = table.tBodies[0];

  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  document.getElementById("controls").hidden = false;
  filter.addEventListener("change", function () {
    let count = 0;
    for (const row of body.rows) {
      row.hidden = filter.value !== "" && row.dataset.verdict !== filter.value;
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = count + " shown";
  });
})();
