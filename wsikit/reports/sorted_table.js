"use strict";
// Sort the slide table by a column. Without script it is still whole.
(function () {
  const table = document.getElementById("slides");
  if (!table) return;
  const body = table.tBodies[0];
  const collator = new Intl.Collator(undefined, { numeric: true });

  function value(row, column) {
    return row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  }

  // Empty cells stay at the foot, whichever way the column is sorted.
  function compare(a, b, column, numeric, sign) {
    const x = value(a, column), y = value(b, column);
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (numeric ? Number(x) - Number(y) : collator.compare(x, y));
  }

  table.querySelectorAll("th button").forEach(function (button) {
    const header = button.parentElement;
    button.addEventListener("click", function () {
      const down = header.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th[aria-sort]").forEach((h) => h.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = header.classList.contains("num");
      const rows = Array.from(body.rows);
      rows.sort((a, b) => compare(a, b, header.cellIndex, numeric, down ? -1 : 1));
      body.append(...rows);
    });
  });
})();
