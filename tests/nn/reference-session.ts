/** Runs a training program with the reference evaluator: what a session of the compiled artefact must do. */

import { gradientGuard, type Program } from "../../compiler/program.js";
import { type Graph, paramName } from "../../ir/graph.js";
import { evaluate } from "../../ir/reference.js";
import { element, type Tensor } from "../../ir/tensor.js";

export class ReferenceSession {
  readonly program: Program;
  readonly state: Map<string, Tensor>;

  constructor(program: Program) {
    this.program = program;
    this.state = new Map(program.state.map((s) => [s.name, s.tensor]));
  }

  /** Outputs by name; states that the entry donates are updated. */
  run(entry: string, feeds: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
    const g: Graph = this.program.entries[entry]!;
    const tensors = g.params.map((p) => {
      const t = this.state.get(paramName(p)) ?? feeds[paramName(p)];
      if (t === undefined) throw new Error(`no value for ${paramName(p)}`);
      return t;
    });
    const results = evaluate(g, tensors);
    const outputs: Record<string, Tensor> = {};
    results.forEach((t, i) => {
      const target = g.donations?.get(i);
      const name = g.resultNames[i]!;
      if (target !== undefined) this.state.set(paramName(g.params[target]!), t);
      else if (name !== gradientGuard) outputs[name] = t;
    });
    return outputs;
  }

  /** One training step. @returns its scalars */
  step(feeds: Readonly<Record<string, Tensor>>): Record<string, number> {
    const out = this.run(this.program.training!.fit!.step, feeds);
    return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, element(t, 0)]));
  }
}
