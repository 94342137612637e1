const worker = new Worker(new URL("./main.js", import.meta.url), { type: "module" });
worker.onmessage = ({ data }) => {
  document.documentElement.dataset.answer = data;
};
worker.onerror = ({ message }) => {
  document.documentElement.dataset.answer = JSON.stringify({ failure: message ?? "its script could not be loaded" });
};
