/** All functions on values, as callers get them. */

import { guardAll } from "./guard.js";
import * as functions from "./index.js";

export const F: typeof functions = /* @__PURE__ */ guardAll("F", functions);
