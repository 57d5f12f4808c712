// Makes a page at home in Airflow's frame: its light or dark, links that lead out, reports as high as they are, copying.
"use strict";

const framed = window.parent !== window;

function followTheme() {
  const source = window.parent.document.documentElement;
  const apply = () => {
    const dark = source.classList.contains("dark");
    document.documentElement.classList.toggle("dark", dark);
    document.documentElement.classList.toggle("light", !dark);
    for (const frame of document.querySelectorAll("iframe.report")) dress(frame);
  };
  new MutationObserver(apply).observe(source, { attributes: true, attributeFilter: ["class"] });
  apply();
}

// A report runs no script of its own, so its scheme and height are set from here.
function dress(frame) {
  const root = frame.contentDocument && frame.contentDocument.documentElement;
  if (!root) return;
  const own = document.documentElement.classList;
  root.style.colorScheme = own.contains("dark") ? "dark" : own.contains("light") ? "light" : "";
  const fit = () => { frame.style.height = `${frame.contentDocument.body.scrollHeight + 2}px`; };
  if (!frame.watched || frame.watched !== root) {
    frame.watched = root;
    new ResizeObserver(fit).observe(frame.contentDocument.body);
  }
  fit();
}

for (const frame of document.querySelectorAll("iframe.report")) {
  frame.addEventListener("load", () => dress(frame));
  dress(frame);
}
if (framed) followTheme();

// Airflow's frame blocks links to its own pages; one that Airflow's page itself clicks is not blocked.
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[data-airflow]");
  if (!link || !framed || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = new URL(link.dataset.airflow, window.parent.document.baseURI).href;
  outside.click();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest && event.target.closest("button[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const told = button.parentElement.querySelector(".copied");
  try {
    await navigator.clipboard.writeText(source.textContent);
    told.textContent = "Copied.";
  } catch {
    const details = source.closest("details");
    if (details) details.open = true;
    window.getSelection().selectAllChildren(source);
    told.textContent = "Selected: press Ctrl+C.";
  }
});
