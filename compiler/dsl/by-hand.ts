/**
 * What graphs are made of by hand. The same as in ir/, but here: who imports them gets the methods of values too, also from a bundler that leaves
 * out what nobody imports.
 */

import * as ir from "../../ir/graph.js";
import "./f/methods.js";

/** An input of a graph. */
export const param: typeof ir.param = (...args) => ir.param(...args);

/** A graph with these results. */
export const graph: typeof ir.graph = (...args) => ir.graph(...args);
