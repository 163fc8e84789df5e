// Tabs: buttons of which each shows one panel, as the ARIA pattern has them.

/**
 * Make the buttons of a tab list work.
 * @param list the element with the role `tablist`
 * @param onShow called with the id of the panel that is shown
 */
export function makeTabs(list, onShow = () => {}) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const choose = (chosen, focus = false) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      panelOf(tab).hidden = !isChosen;
    }
    if (focus) chosen.focus();
    onShow(panelOf(chosen).id);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const target = { Home: tabs[0], End: tabs.at(-1) }[event.key];
      if (!step && !target) return;
      event.preventDefault();
      choose(target ?? tabs[(index + step + tabs.length) % tabs.length], true);
    });
  }
}
