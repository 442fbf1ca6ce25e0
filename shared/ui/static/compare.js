// The clips of a compared test set: gains or losses first, and the rest of them on request.
(() => {
  function inSight(section, all) {
    const first = all ? Infinity : Number(section.dataset.first);
    section.querySelectorAll(".clip-row").forEach((row, at) => { row.hidden = at >= first; });
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-order], [data-all]");
    const section = button?.closest(".clips");
    if (!section) return;
    if (button.matches("[data-all]")) {
      inSight(section, true);
      section.dataset.first = Infinity;
      button.remove();
    } else if (button.getAttribute("aria-pressed") !== "true") {
      const list = section.querySelector(".clips-list");
      list.replaceChildren(...[...list.children].reverse());
      inSight(section, false);
      section.querySelectorAll("[data-order]").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
    }
  });
})();
