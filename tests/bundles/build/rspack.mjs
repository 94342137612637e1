import { rspack } from "@rspack/core";
import { pack } from "./pack.mjs";

await pack(rspack, "rspack");
