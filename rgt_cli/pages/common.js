"use strict";

/* Dark and light colors: those of the system, until the button chooses others. */
(() => {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem("rgt-theme");
  } catch { /* a browser may have no storage for files */ }

  function apply() {
    const isDark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.textContent = isDark ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark ? "Use light colors" : "Use dark colors");
  }

  button.addEventListener("click", () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("rgt-theme", chosen);
    } catch { /* the choice lasts as long as the page */ }
    apply();
  });
  system.addEventListener("change", apply);
  apply();
})();

/* Return a new element with properties, attributes (in `attributes`) and children. */
function element(tag, properties = {}, ...children) {
  const { attributes = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/* Return seconds as text: "0.42 s", "12.3 s", "2:05". */
function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, at) => (at ? String(part).padStart(2, "0") : part)).join(":");
}

/* Return a size as text: "640 x 480". */
function pixels(size) {
  return `${size[0]} x ${size[1]}`;
}
