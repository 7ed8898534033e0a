() => {
  // What a screen reader would stumble over, as a list of sentences; empty where there is nothing.
  const found = [];
  const short = (element) => element.outerHTML.slice(0, 80);
  const check = (selector, isFine, words) => document.querySelectorAll(selector).forEach((element) => {
    if (!isFine(element)) found.push(`${words}: ${short(element)}`);
  });
  const named = (element) => element.textContent.trim() || element.getAttribute("aria-label");
  const pointed = (name) => (element) => document.getElementById(element.getAttribute(name));

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => found.push(`id twice: ${id}`));
  check("input, select, textarea", (element) => element.labels.length || element.getAttribute("aria-label"), "no label");
  check("button, a", named, "no name");
  check("svg, canvas", (element) => element.getAttribute("role") === "img" && element.getAttribute("aria-label"), "no text");
  for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"]) check(`[${name}]`, pointed(name), "leads nowhere");
  check("table", (element) => element.caption && element.querySelector("th[scope=col]"), "table without caption or heads");

  const levels = [...document.querySelectorAll("h1, h2, h3")].filter((h) => h.offsetParent).map((h) => Number(h.tagName[1]));
  levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) found.push("a level of headings is left out"); });
  // a colour that a script sets is the one style that the policy permits here
  check("[style], script:not([src]), style", (element) => element.closest(".legend"), "inline");
  return found;
}
