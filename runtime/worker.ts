/** The file that sessions start as a worker (`dist/worker.js`). */
import { listen } from "./thread.js";

void listen();
