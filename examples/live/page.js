/**
 * Trains in a worker and draws the losses as they come, so that the page stays free. Serve the repository's root after `npm run build`
 * and open examples/live/?model=/NAME.wasm&data=/data.json, where NAME.wasm was compiled from a trainStep.
 */
const status = document.getElementById("status");
const canvas = document.getElementById("curve");
const query = new URLSearchParams(location.search);
const losses = [];
/** What a test or a curious user may look at. */
globalThis.live = { losses, history: null, error: null };

function draw() {
  const g = canvas.getContext("2d");
  const { width, height } = canvas;
  const top = Math.max(...losses);
  g.clearRect(0, 0, width, height);
  g.strokeStyle = "#2563eb";
  g.lineWidth = 2;
  g.beginPath();
  losses.forEach((loss, i) => {
    g.lineTo((i / Math.max(1, losses.length - 1)) * width, height - (loss / top) * (height - 4) - 2);
  });
  g.stroke();
}

if (query.has("model")) {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  let waiting = false;
  worker.onmessage = ({ data: { event, history, error } }) => {
    if (event) {
      losses.push(event.loss);
      status.textContent = `epoch ${event.epoch}, batch ${event.batch}: loss ${event.loss.toFixed(4)}`;
      if (!waiting)
        requestAnimationFrame(() => {
          waiting = false;
          draw();
        });
      waiting = true;
    }
    if (history) status.textContent = `done, loss ${history.at(-1).loss.toFixed(4)}`;
    if (error) status.textContent = error;
    Object.assign(globalThis.live, { history, error });
  };
  const url = (name) => new URL(query.get(name), location.href).href;
  worker.postMessage({ model: url("model"), data: url("data"), epochs: Number(query.get("epochs") ?? 5) });
}
