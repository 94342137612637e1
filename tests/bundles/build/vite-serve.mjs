import { createServer } from "vite";
import { plugin } from "./from-project.mjs";

const server = await createServer({
  root: process.cwd(),
  logLevel: "error",
  plugins: [plugin.vite({ report: false })],
  server: {
    host: "127.0.0.1",
    port: 0,
    // The packages lie in the folder above.
    fs: { allow: [".."] },
    headers: { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" },
  },
});
await server.listen();
console.log(server.resolvedUrls.local[0]);
