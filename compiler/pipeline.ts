/** The graph passes as the kernels that there are ask for them. */

import { graphPassesFor } from "../passes/graph/index.js";
import type { GraphPass } from "../passes/pass.js";
import { pipelineFor } from "../passes/pipeline.js";
import { kernels } from "./lower/table.js";

/** What every graph goes through before lowering. */
export const defaultPipeline: readonly GraphPass[] = pipelineFor(kernels);

/** All graph passes by name. */
export const graphPasses: ReadonlyMap<string, GraphPass> = graphPassesFor(kernels);
