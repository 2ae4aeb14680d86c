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
// On paper everything is open; style shows all panels there.
let opened = [];
addEventListener('beforeprint', () => {
  opened = [...document.querySelectorAll('details:not([open])')];
  opened.forEach((each) => { each.open = true; });
});
addEventListener('afterprint', () => opened.forEach((each) => { each.open = false; }));
