// Tabs out of plain sections; without this script they stand below each other.
for (const group of document.querySelectorAll('.tabs')) {
  const panels = [...group.children];
  if (panels.length < 2) continue;
  const list = document.createElement('div');
  list.setAttribute('role', 'tablist');
  list.setAttribute('aria-label', group.dataset.label);
  const id = `${group.closest('section[id]').id}-tab`;
  const tabs = panels.map((panel, index) => {
    const tab = document.createElement('button');
    tab.type = 'button';
    tab.id = `${id}-${index}`;
    tab.textContent = panel.dataset.tab;
    tab.setAttribute('role', 'tab');
    tab.setAttribute('aria-controls', `${id}-${index}-panel`);
    panel.id = `${id}-${index}-panel`;
    panel.setAttribute('role', 'tabpanel');
    panel.setAttribute('aria-labelledby', tab.id);
    tab.addEventListener('click', () => select(index));
    list.append(tab);
    return tab;
  });
  const select = (chosen) => tabs.forEach((tab, index) => {
    tab.setAttribute('aria-selected', index === chosen);
    tab.tabIndex = index === chosen ? 0 : -1;
    panels[index].hidden = index !== chosen;
  });
  list.addEventListener('keydown', (event) => {
    const now = tabs.indexOf(document.activeElement), last = tabs.length - 1;
    const places = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now === 0 ? last : now - 1, Home: 0, End: last };
    if (!(event.key in places)) return;
    event.preventDefault();
    select(places[event.key]);
    tabs[places[event.key]].focus();
  });
  group.classList.add('tabbed');
  group.prepend(list);
  select(0);
}
// A click on the head of a column sorts a table by it; without this script they stay as they are.
const value = (row, column) => {
  const text = row.cells[column].textContent.trim().replace('−', '-').replaceAll(',', '');
  return text === '–' ? -Infinity : Number.isNaN(parseFloat(text)) ? text : parseFloat(text);
};
for (const table of document.querySelectorAll('table')) {
  const [body] = table.tBodies, heads = [...table.tHead.rows[0].cells];
  if (body.rows.length < 3) continue;
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      const words = rows.some(([key]) => typeof key === 'string');
      const down = head.ariaSort ? head.ariaSort === 'ascending' : !words;
      const order = ([a], [b]) => (words ? String(a).localeCompare(b, undefined, { numeric: true }) : a - b) || 0;
      rows.sort((a, b) => (down ? order(b, a) : order(a, b)));
      body.append(...rows.map(([, row]) => row));
      heads.forEach((each) => each.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    });
  });
}
// On paper everything is open; style shows all panels there.
let opened = [];
addEventListener('beforeprint', () => {
  opened = [...document.querySelectorAll('details:not([open])')];
  opened.forEach((each) => { each.open = true; });
});
addEventListener('afterprint', () => opened.forEach((each) => { each.open = false; }));
