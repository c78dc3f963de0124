// Players: one sounds at a time, a line shows where, and switching keeps the moment.
(() => {
  const PLAY = '<svg viewBox="0 0 14 14" aria-hidden="true"><path d="M3.5 1.6v10.8L12 7z"/></svg>';
  const PAUSE = '<svg viewBox="0 0 14 14" aria-hidden="true"><path d="M3 2h3v10H3zM8 2h3v10H8z"/></svg>';
  const keep = document.getElementById("keep");
  if (!keep) return;
  keep.closest(".switch").hidden = false;
  let current = null;
  const clock = (seconds) => (Number.isFinite(seconds) ? seconds.toFixed(1) : "–");

  document.querySelectorAll(".tile").forEach((tile) => {
    const audio = tile.querySelector("audio");
    const stage = tile.querySelector(".stage");
    const head = tile.querySelector(".head");
    const label = audio.dataset.label;
    const bar = document.createElement("div");
    bar.className = "bar";
    const button = document.createElement("button");
    button.type = "button";
    const time = document.createElement("span");
    const seek = document.createElement("input");
    Object.assign(seek, { type: "range", min: 0, max: 1, step: 0.001, value: 0 });
    seek.setAttribute("aria-label", `Position in ${label}`);
    bar.append(button, time);
    audio.before(bar);
    stage.append(seek);
    audio.controls = false;
    audio.hidden = true;

    const show = () => {
      const playing = !audio.paused;
      tile.classList.toggle("playing", playing);
      button.innerHTML = playing ? PAUSE : PLAY;
      button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${label}`);
      const part = audio.duration ? audio.currentTime / audio.duration : 0;
      head.hidden = !playing && !part;
      head.style.left = `${100 * part}%`;
      if (document.activeElement !== seek || playing) seek.value = part;
      time.textContent = `${clock(audio.currentTime)} / ${clock(audio.duration)} s`;
      if (playing) requestAnimationFrame(show);
    };
    const start = () => {
      if (current && current !== audio) {
        const sibling = current.closest(".utterance") === tile.closest(".utterance");
        if (keep.checked && sibling && !current.paused) audio.currentTime = current.currentTime;
        current.pause();
      }
      current = audio;
      audio.play();
    };
    button.addEventListener("click", () => (audio.paused ? start() : audio.pause()));
    seek.addEventListener("input", () => {
      if (audio.duration) audio.currentTime = seek.value * audio.duration;
      show();
    });
    seek.addEventListener("keydown", (event) => {
      if (event.key === " ") { event.preventDefault(); button.click(); }
    });
    ["play", "pause", "ended", "seeked", "loadedmetadata"].forEach((name) => audio.addEventListener(name, show));
    audio.addEventListener("error", () => { time.textContent = "cannot be played"; time.className = "failed"; });
    show();
  });
})();
