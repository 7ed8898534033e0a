// Light or dark: what the system prefers, unless the switch says otherwise.

const KEY = "discovery-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const chosen = () => localStorage.getItem(KEY);

export const isDark = () => (chosen() ?? (system.matches ? "dark" : "light")) === "dark";

/** Wire the switch; `changed` runs whenever the colours change. */
export function startTheme(button, changed) {
  const apply = () => {
    if (chosen()) document.documentElement.dataset.theme = chosen();
    button.setAttribute("aria-pressed", String(isDark()));
    changed();
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, isDark() ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
