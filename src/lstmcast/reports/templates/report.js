// Sorts a table by a click on a head, and filters its rows by what is typed. Without it, all is shown in order.
const value = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent.trim();
const isNumber = (text) => text !== "" && Number.isFinite(Number(text));

function compare(a, b) {
  if (isNumber(a) && isNumber(b)) return Number(a) - Number(b);
  return a.localeCompare(b);
}

function sort(table, head, i) {
  const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  // what diverged is no one's best: its scores are those before that
  const diverged = (row) => "score" in head.dataset && "diverged" in row.dataset;
  const missing = (row) => Number(value(row, i) === "") * 2 || Number(diverged(row));
  rows.sort((a, b) => missing(a) - missing(b) || down * compare(value(a, i), value(b, i)));
  table.tBodies[0].append(...rows);
}

// a word that stands in the row, or a head's name with <, > or = and a value: learning_rate<0.01
function holds(row, heads, word) {
  const [, name, sign, wanted] = /^(.+?)([<>=])(.+)$/.exec(word) ?? [];
  const i = name ? heads.findIndex((head) => head.includes(name)) : -1;
  if (i < 0) return row.textContent.toLowerCase().includes(word);
  const found = value(row, i).toLowerCase();
  if (sign === "=") return found === wanted || (isNumber(found) && Number(found) === Number(wanted));
  return isNumber(found) && (sign === "<" ? Number(found) < Number(wanted) : Number(found) > Number(wanted));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((head) => head.textContent.trim().toLowerCase());
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head, i));
  });
  const filter = document.querySelector("#filter"), count = document.querySelector("#count");
  filter.closest("form").hidden = false;
  filter.closest("form").addEventListener("submit", (event) => event.preventDefault());
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !words.every((word) => holds(row, names, word));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  });
}
