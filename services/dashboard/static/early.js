// Before the first paint, so that no page flashes in other colours: the theme that this browser has chosen.
// Not a module, because those wait for the whole page. theme.js changes the choice.

try {
  const theme = localStorage.getItem("hyperhive-theme");
  if (["light", "dark"].includes(theme)) document.documentElement.dataset.theme = theme;
} catch {
  // This browser keeps nothing for this address: the system decides.
}
