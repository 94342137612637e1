/**
 * What graphs are made of by hand. The same as in ir/, but here: who imports them gets the methods of values too, also from a bundler that leaves
 * out what nobody imports.
 */

import * as ir from "../../ir/graph.js";
import { withMethods } from "./f/methods.js";

/** An input of a graph. */
export const param = withMethods(ir.param);

/** A graph with these results. */
export const graph = withMethods(ir.graph);
