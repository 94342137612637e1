import webpack from "webpack";
import { pack } from "./pack.mjs";

await pack(webpack, "webpack");
