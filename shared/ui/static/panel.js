// Life for the result panel: times seek the player, the passage being played is marked, subtitles run, Copy copies.
(() => {
  const panelOf = (element) => element.closest(".result-body");
  const playerOf = (element) => panelOf(element)?.querySelector(".player");

  document.addEventListener("click", (event) => {
    const time = event.target.closest?.("[data-seek]");
    const player = time && playerOf(time);
    if (player) {
      player.currentTime = Number(time.dataset.seek);
      player.play();
    }
    const copy = event.target.closest?.("[data-copy]");
    if (copy) copyText(copy);
  });

  async function copyText(button) {
    const lines = [...panelOf(button).querySelectorAll(".segment .said")].map((said) => said.textContent.trim());
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(lines.join("\n"));
      button.textContent = "Copied";
    } catch {
      button.textContent = "The browser did not allow it";
    }
    setTimeout(() => { button.textContent = said; }, 2000);
  }

  // Media events do not bubble, but they can be captured on their way down.
  const follow = (event) => {
    const player = event.target;
    if (!player.classList?.contains("player")) return;
    const panel = panelOf(player);
    for (const row of panel.querySelectorAll(".segment")) {
      const now = player.currentTime;
      row.classList.toggle("now", now >= Number(row.dataset.start) && now < Number(row.dataset.end) && !player.ended);
    }
    const track = player.textTracks[0];
    if (!track) return;
    if (track.mode !== "hidden") track.mode = "hidden"; // read the cues here; an audio element shows none itself
    const cue = track.activeCues?.[0];
    panel.querySelector(".caption").innerText = cue ? cue.getCueAsHTML().textContent : "";
  };
  for (const name of ["timeupdate", "seeked", "ended", "play"]) document.addEventListener(name, follow, true);
})();
