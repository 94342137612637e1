/** What optimisers refuse, and what they leave alone. The numbers are in tests/e2e/optimizers.test.ts. */

import { describe, expect, it } from "vitest";
import { definitionOf } from "../../compiler/schema.js";
import { build, ModelError, nn, optim, trainStep } from "../../index.js";
import type { Value } from "../../ir/graph.js";
import { tensorFrom, toNumbers } from "../../ir/tensor.js";
import { ReferenceSession } from "./reference-session.js";

type Factory = (options?: Record<string, unknown>) => optim.Optimizer;
const factories = ["SGD", "ASGD", "Rprop", "Lion", "LARS", "LAMB", "LBFGS", "Adam", "AdamW", "Adamax", "NAdam", "RAdam"]
  .concat("RMSprop", "Adagrad", "Adadelta", "Adafactor")
  .map((name) => [name, (optim as unknown as Record<string, Factory>)[name]!] as const);

function problemsOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ModelError) return error.problems.map((p) => `${p.where}: ${p.message}`);
    throw error;
  }
  return [];
}

describe("options of optimisers", () => {
  it.each(factories)("%s refuses what its schema does not have", (name, make) => {
    expect(problemsOf(() => make({ learningRate: 1, lr: Number.NaN }))).toEqual([
      `option "learningRate": optim.${name} has no such option`,
      "option lr: expected a number ≥ 0, got NaN",
    ]);
    const { options } = definitionOf(make)!;
    for (const [option, { fits }] of Object.entries(options!)) {
      const wrong = [-1, "no", {}, true, Number.NaN].filter((v) => !fits(v));
      expect(wrong.length, option).toBeGreaterThan(0);
      for (const value of wrong)
        expect(problemsOf(() => make({ [option]: value })).join(), `${option}: ${String(value)}`).toContain(option);
    }
  });

  it("takes both betas at once, but not twice", () => {
    expect(optim.Adam({ betas: [0.8, 0.95] }).options).toEqual(optim.Adam({ beta1: 0.8, beta2: 0.95 }).options);
    expect(problemsOf(() => optim.Adam({ betas: [0.8, 0.95], beta2: 0.9 }))).toEqual([
      "option betas: optim.Adam is given beta2 as well",
    ]);
    expect(problemsOf(() => optim.Lion({ betas: [0.8] as never }))[0]).toContain("a list of two");
    const grouped = optim.AdamW({ betas: [0.8, 0.95], groups: [{ params: "a", options: { beta1: 0.5 } }] });
    expect(grouped.options.beta1).toBe(0.8);
  });

  it("refuses groups without prefix, and unknown options in them", () => {
    expect(problemsOf(() => optim.SGD({ groups: [{ params: "", options: {} }] }))[0]).toContain("a prefix of names");
    expect(problemsOf(() => optim.SGD({ groups: [{ params: "a", options: { rate: 1 } as never }] }))).toEqual([
      'option "rate": a group of optim.SGD has no such option',
    ]);
  });

  it("is typed by the schema", () => {
    // @ts-expect-error a rate is a number
    expect(() => optim.SGD({ lr: "1" })).toThrow(ModelError);
    // @ts-expect-error there is no such option
    expect(() => optim.SGD({ beta: 1 })).toThrow(ModelError);
    // @ts-expect-error one of two words
    expect(() => optim.Adam({ epsilonForm: "tensorflow" })).toThrow(ModelError);
  });

  it("refuses wrong numbers for clipping", () => {
    expect(problemsOf(() => optim.clipNorm(-1))).toEqual(["optim.clipNorm: max: expected a number ≥ 0, got -1"]);
    expect(problemsOf(() => optim.clipNorm(1, 0))[0]).toContain("optim.clipNorm: p");
    expect(problemsOf(() => (optim.clipValue as () => unknown)())[0]).toContain("got undefined");
  });
});

/** The loss is the mean square of used · x; what is idle takes part without a gradient. */
class Two extends nn.Module {
  readonly used = nn.parameter([3], nn.init.ones);
  readonly idle = nn.parameter([3], nn.init.ones);
  forward(ctx: nn.Context, x: Value): Value {
    ctx.value(this.idle);
    return build.mean(build.square(build.np.mul(x, ctx.value(this.used))));
  }
}

/** Nothing that it computes depends on its parameter. */
class Idle extends nn.Module {
  readonly idle = nn.parameter([3], nn.init.ones);
  forward(_: nn.Context, x: Value): Value {
    return build.mean(x);
  }
}

const recipe = {
  inputs: { x: [3] },
  targets: {},
  loss: (output: Value) => output,
  accumulate: 2,
} as const;

describe("parameters without a gradient", () => {
  it.each(factories)("%s leaves them and their state alone", (name, make) => {
    const optimizer = make({ lr: 0.5, ...("weightDecay" in make().options ? { weightDecay: 0.5 } : {}) });
    const program = trainStep(new Two(), {
      ...recipe,
      optimizer: name === "ASGD" ? optimizer : optim.averaged(optimizer),
    });
    const session = new ReferenceSession(program);
    const before = new Map(session.state);
    const feeds = { x: tensorFrom("f32", [3], [1, -2, 3]) };
    for (let s = 0; s < 4; s++) session.step(feeds);
    for (const [state, t] of session.state)
      if (state.endsWith("idle")) expect(toNumbers(t), state).toEqual(toNumbers(before.get(state)!));
    expect(toNumbers(session.state.get("used")!)).not.toEqual([1, 1, 1]);
  });

  it("are grouped by prefixes that begin some name", () => {
    const groups = (...prefixes: string[]) => prefixes.map((params) => ({ params, options: { lr: 0 } }));
    const of = (...prefixes: string[]) =>
      problemsOf(() => trainStep(new Two(), { ...recipe, optimizer: optim.Adam({ groups: groups(...prefixes) }) }));
    expect(of("used", "idl")).toEqual([]);
    expect(of("used", "usde", "head.")).toEqual([
      'a group of optim.Adam: no parameter\'s name begins with "usde"',
      'a group of optim.Adam: no parameter\'s name begins with "head."',
    ]);
  });

  it("are learnt by optimisers that are combined, which must fit", () => {
    const matrix = () =>
      trainStep(nn.Linear(3, 2), {
        inputs: { x: [4, 3] },
        targets: {},
        loss: (y: Value) => build.mean(y),
        optimizer: optim.Muon(),
      });
    expect(problemsOf(matrix)).toEqual(["optimizer.bias: Muon learns matrices, but this parameter is [2]"]);
    const of = (optimizer: optim.Optimizer) => problemsOf(() => trainStep(new Two(), { ...recipe, optimizer }));
    const parts = [{ params: "used", optimizer: optim.Lion() }];
    expect(of(optim.combined(optim.Adam(), parts))).toEqual([]);
    expect(of(optim.averaged(optim.combined(optim.Adam(), parts)))).toEqual([]);
    expect(of(optim.combined(optim.Adam(), [...parts, { params: "head.", optimizer: optim.SGD() }]))).toEqual([
      'a group of optim.Adam+Lion+SGD: no parameter\'s name begins with "head."',
    ]);
    expect(problemsOf(() => optim.combined(optim.Adam(), [{ params: "used", optimizer: optim.LBFGS() }]))).toEqual([
      "optim.combined: LBFGS learns all parameters together",
    ]);
    expect(problemsOf(() => optim.combined(optim.averaged(optim.Adam()), parts))).toEqual([
      "optim.combined: Adam keeps averages",
    ]);
  });

  it("has a line search only along a loss whose gradients nothing changes", () => {
    const of = (more: object) =>
      problemsOf(() =>
        trainStep(new Two(), { ...recipe, optimizer: optim.LBFGS({ lineSearch: "strongWolfe" }), ...more }),
      ).map((p) => p.slice(0, 60));
    const wanted = ["optim.LBFGS: its line search computes the loss anew, which n"];
    expect(of({})).toEqual(wanted);
    expect(of({ accumulate: 1, clip: optim.clipNorm(1) })).toEqual(wanted);
    expect(of({ accumulate: 1 })).toEqual([]);
  });

  it("is an error where no parameter has one", () => {
    expect(problemsOf(() => trainStep(new Idle(), { ...recipe, optimizer: optim.SGD() }))[0]).toContain(
      "depends on none of the parameters",
    );
  });
});
