/** One seed for all that is random in a program: initial weights that were drawn, and the key of random numbers. */

import { expect, it } from "vitest";
import { compile } from "../../compiler/compile.js";
import { losses, nn, optim, trainStep } from "../../compiler/dsl/index.js";
import { seeded } from "../../compiler/program.js";
import { load, type TrainingSession } from "../../runtime/index.js";

const net = () => nn.sequential({ fc1: nn.Linear(3, 4), drop: nn.Dropout(0.5), fc2: nn.Linear(4, 1) });
const step = (model: nn.Module = net(), seed?: number) =>
  trainStep(model, {
    inputs: { x: ["n", 3] },
    targets: { y: ["n", 1] },
    loss: losses.mse(),
    optimizer: optim.SGD({ lr: 0.1 }),
    ...(seed === undefined ? {} : { seed }),
  });
const firstOf = (p: ReturnType<typeof step>) =>
  new Map(p.state.map((s) => [s.name, Array.from(s.tensor.data, Number)]));

it("draws what a module draws that is initialised with the seed", () => {
  expect(firstOf(seeded(step(), 0))).toEqual(firstOf(step()));
  expect(firstOf(seeded(step(), 7))).toEqual(firstOf(step(net().initialize(7), 7)));
  expect(firstOf(seeded(step(), 7)).get("fc1.weight")).not.toEqual(firstOf(step()).get("fc1.weight"));
});

it("leaves what was loaded, and keeps copies equal and members of ensembles different", () => {
  const pretrained = net();
  pretrained.loadState(new Map([...net().initialize(1).state()].map(([name, t]) => [name, { ...t }])));
  expect(firstOf(seeded(step(pretrained), 5)).get("fc1.weight")).toEqual(firstOf(step(pretrained)).get("fc1.weight"));

  const online = net().initialize();
  const target = net().loadState(online.state());
  class Two extends nn.Module {
    readonly online = online;
    readonly target = target;
    readonly other = net().initialize(1);
    forward(ctx: nn.Context, x: never) {
      return this.other(ctx, x).add(this.online(ctx, x)).add(this.target(ctx, x));
    }
  }
  const values = firstOf(seeded(step(new Two() as never), 5));
  expect(values.get("target.fc1.weight")).toEqual(values.get("online.fc1.weight"));
  expect(values.get("other.fc1.weight")).not.toEqual(values.get("online.fc1.weight"));
  expect(values.get("online.fc1.weight")).toEqual(firstOf(step(net().initialize(5))).get("fc1.weight"));
});

it("is an option of compile", async () => {
  const trained = async (seed: number) => {
    const session = (await load(await compile(step(), { seed, variants: ["simd128"] }))) as unknown as TrainingSession;
    const { loss } = await session.step({ x: Float32Array.of(1, 2, 3), y: Float32Array.of(1) });
    session.dispose();
    return loss;
  };
  expect(await trained(3)).toBe(await trained(3));
  expect(await trained(3)).not.toBe(await trained(4));
  await expect(compile(step(), { seed: -1 })).rejects.toThrow(/option seed/);
});
