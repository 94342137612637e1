import { defaults } from "../../runtime/index.js";
import { workerFile } from "./build-worker.js";

defaults.workerUrl = workerFile;
