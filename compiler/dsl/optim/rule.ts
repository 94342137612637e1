/** What an optimiser is: the state it keeps and one update, for each parameter or for all together. */

import { type Arg, asType, np, where } from "../../../ir/build.js";
import type { DType } from "../../../ir/dtype.js";
import { ModelError } from "../../../ir/errors.js";
import type { Value } from "../../../ir/graph.js";
import { scalarConstant } from "../../../ir/ops/constant.js";
import { exp, expm1, log } from "../../../ir/ops/elementwise.js";
import * as kinds from "../../schema.js";
import {
  factory,
  type Kind,
  type OptionsOf,
  option,
  optional,
  pair,
  type Schema,
  type Settings,
  settle,
} from "../../schema.js";

/** What every update sees. */
export interface Clock {
  /** Learning rate, a scalar f32. */
  readonly lr: Value;
  /** Replaces the option `momentum` (or the first beta), where a schedule drives it. */
  readonly momentum?: Value | undefined;
  /** Number of this update, from 1, as a scalar f32. */
  readonly step: Value;
}

/** What the update of one parameter sees. */
export interface Update extends Clock {
  readonly param: Value;
  readonly gradient: Value;
  /** The parameter's own state by slot name. */
  readonly slots: Readonly<Record<string, Value>>;
}

export interface Updated {
  readonly param: Value;
  readonly slots: Readonly<Record<string, Value>>;
}

export interface Slot {
  /** The first value of all elements, or the parameter's own first value. */
  readonly initial: number | "parameter";
  /** One number for the whole parameter. */
  readonly scalar?: boolean;
  /** Its shape, for a parameter of this one; undefined where such a parameter has none. Default: the parameter's own. */
  readonly shape?: (parameter: readonly number[]) => readonly number[] | undefined;
}

/** The rule for some parameters: which state it keeps for each of them, and one update. */
export interface Rule {
  readonly lr: number;
  readonly slots: Readonly<Record<string, Slot>>;
  readonly update: (u: Update) => Updated;
  /**
   * For gradients that are rows of a table: "exact" where rows whose gradient is 0 stay as they are, state included, so that the others
   * alone give the same; "only" where the rule is one for rows, and leaves others alone whatever the rule says of a gradient of 0.
   */
  readonly rows?: "exact" | "only";
}

/** A parameter that is learnt. */
export interface Parameter {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** What the update of all parameters together sees, in their order. */
export interface JointUpdate extends Clock {
  readonly params: readonly Value[];
  readonly gradients: readonly Value[];
  readonly slots: Readonly<Record<string, Value>>;
  /** The loss, and the loss and gradients that other parameters have. Undefined where gradients were made otherwise. */
  readonly objective?: Objective | undefined;
}

/** A loss as a function of parameters. */
export interface Objective {
  readonly loss: Value;
  readonly at: (params: readonly Value[]) => { readonly loss: Value; readonly gradients: readonly Value[] };
}

/** A rule that needs all parameters at once. */
export interface JointRule {
  /** State beside that of the parameters, by name. */
  readonly slots: (
    parameters: readonly Parameter[],
  ) => Readonly<Record<string, { readonly shape: readonly number[]; readonly initial: number }>>;
  readonly update: (u: JointUpdate) => {
    readonly params: readonly Value[];
    readonly slots: Readonly<Record<string, Value>>;
  };
}

export type OptimizerOptions = Readonly<Record<string, number | boolean | string>>;

export interface Optimizer {
  readonly name: string;
  /** Learning rate at the start. */
  readonly lr: number;
  /** As given and by default, for the artefact's manifest. */
  readonly options: OptimizerOptions;
  /** The rule for the parameter of this name. */
  readonly ruleFor: (name: string) => Rule;
  /** Prefixes of names by which parameters are grouped. */
  readonly prefixes?: readonly string[];
  /** Takes the place of the parameters' own rules. */
  readonly joint?: JointRule;
  /** An exponential moving average of each parameter is kept beside it. */
  readonly average?: { readonly decay: number };
}

export const anOptimizer = kinds.kindOf<Optimizer>(
  "an optimiser, such as optim.Adam({ lr: 1e-3 })",
  (v) => typeof v === "object" && v !== null && typeof (v as Partial<Optimizer>).ruleFor === "function",
);

/** Options that differ for some parameters. */
export interface Group<O> {
  /** Which parameters: a prefix of their names, or a test. The first group that fits counts. */
  readonly params: string | ((name: string) => boolean);
  readonly options: O;
}

export type Grouped<O> = O & { readonly groups?: readonly Group<O>[] | undefined };

interface Common extends Schema {
  readonly lr: kinds.Option<number, number>;
  readonly maximize: kinds.Option<boolean, boolean>;
}

const isPrefixOrTest: Kind<string | ((name: string) => boolean)> = kinds.anyOf(
  { expected: "a prefix of names", fits: (v) => typeof v === "string" && v !== "" },
  { expected: "a function of a name", fits: (v) => typeof v === "function" },
);
const groupSchema = {
  params: optional(isPrefixOrTest, "Which parameters"),
  options: optional<object>(
    { expected: "an object of options", fits: (v) => typeof v === "object" && v !== null },
    "Their options",
  ),
};
const groupsOption = optional(
  kinds.list<Group<object>>({
    expected: "an object { params, options }",
    fits: (v) => typeof v === "object" && v !== null,
  }),
  "Options that differ for parameters whose names begin with a prefix or pass a test: `{ params, options }`; the first that fits counts",
);

interface OptimizerDefinition<S extends Common> {
  readonly name: string;
  readonly summary: string;
  readonly options: S;
  readonly rule: (options: Settings<S>) => Omit<Rule, "lr">;
}

/** An optimiser from the schema of its options and the rule that they give. @throws ModelError for options that do not fit */
export function defineOptimizer<S extends Common>(
  d: OptimizerDefinition<S>,
): (options?: Grouped<OptionsOf<S>>) => Optimizer {
  const of = `optim.${d.name}`;
  const full = { ...d.options, groups: groupsOption };
  const make = (given: Grouped<OptionsOf<S>> = {} as Grouped<OptionsOf<S>>): Optimizer => {
    settle(of, given as OptionsOf<typeof full>, full);
    const { groups = [], ...own } = given;
    const base = split(of, own);
    const rules = groups.map((g) => {
      const { params, options } = settle(`a group of ${of}`, g as OptionsOf<typeof groupSchema>, groupSchema);
      if (params === undefined || options === undefined)
        throw new ModelError({
          where: of,
          message: "a group needs params and options",
          hint: '{ params: "head.", options: { lr: 0.1 } }',
        });
      const settings = settle(`a group of ${of}`, { ...base, ...split(of, options) } as OptionsOf<S>, d.options);
      return { params, rule: { ...d.rule(settings), lr: Number(settings.lr) } };
    });
    const settings = settle(of, base as OptionsOf<S>, d.options);
    const common = { ...d.rule(settings), lr: Number(settings.lr) };
    const fits = (params: string | ((name: string) => boolean), p: string) =>
      typeof params === "string" ? p.startsWith(params) : params(p);
    return {
      name: d.name,
      lr: common.lr,
      options: plain(settings),
      prefixes: rules.flatMap(({ params }) => (typeof params === "string" ? [params] : [])),
      ruleFor: (p) => rules.find((g) => fits(g.params, p))?.rule ?? common,
    };
  };
  return factory({ name: of, summary: d.summary, options: full }, make);
}

/** Without options that are undefined. */
const stated = (options: object): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** As the manifest has them: lists as text. */
const plain = (settings: object): OptimizerOptions =>
  Object.fromEntries(
    Object.entries(stated(settings)).map(([name, v]) => [name, Array.isArray(v) ? v.join() : v]),
  ) as OptimizerOptions;

/** Options with PyTorch's pair of betas as two. */
function split(of: string, options: object): Readonly<Record<string, unknown>> {
  const { betas, ...rest } = stated(options) as { readonly betas?: unknown; readonly [name: string]: unknown };
  if (betas === undefined) return rest;
  const both = ["beta1", "beta2"].filter((name) => Object.hasOwn(rest, name));
  if (both.length > 0)
    throw new ModelError({
      where: `option betas`,
      message: `${of} is given ${both.join(" and ")} as well`,
      hint: "betas: [b1, b2] is short for both",
    });
  const [beta1, beta2] = Array.isArray(betas) ? (betas as readonly unknown[]) : [];
  return { ...rest, beta1, beta2 };
}

// ------------------------------------------------------------------------------------------------------------ options

/** Options of every optimiser. */
export const common = (lr: number) => ({
  lr: option(kinds.size, lr, "Learning rate at the start"),
  weightDecay: option(kinds.size, 0, "Multiple of the parameter that is added to its gradient"),
  maximize: option(kinds.flag, false, "Climb instead of descend"),
});

export const epsilonOption = (value: number) => option(kinds.size, value, "Added to the divisor");

export const betaOptions = (beta1: number, beta2: number) => ({
  beta1: option(kinds.decay, beta1, "Decay of the mean gradient"),
  beta2: option(kinds.decay, beta2, "Decay of the mean squared gradient"),
  betas: optional(pair(kinds.decay), "`[beta1, beta2]`, PyTorch's way to write both"),
});

export const epsilonForm = (keras: string) =>
  option(kinds.choice("pytorch", "keras"), "pytorch", `Where epsilon stands; Keras: ${keras}`);

// --------------------------------------------------------------------------------------------------------- arithmetic

/** a·x + b·y */
export const mix = (a: Arg, x: Value, b: Arg, y: Value): Value => np.add(np.mul(x, a), np.mul(y, b));

export const oneMinus = (a: Value | number): Value | number =>
  typeof a === "number" ? 1 - a : np.sub(scalarConstant(a.type.dtype, 1), a);

/** p − rate·direction */
export const descend = (p: Value, rate: Value, direction: Value): Value =>
  np.sub(p, np.mul(direction, asType(rate, p.type.dtype)));

export const same = (v: Value, like: Value): Value => asType(v, like.type.dtype);

/** Gradient with sign and weight decay. */
export function gradientOf(
  { param, gradient }: Update,
  { weightDecay, maximize }: { readonly weightDecay: number; readonly maximize: boolean },
): Value {
  const g = maximize ? np.mul(gradient, -1) : gradient;
  return weightDecay === 0 ? g : np.add(g, np.mul(param, weightDecay));
}

/** The parameter, made smaller by weight decay that is apart from the gradient: p·(1 − lr·decay). */
export const shrunk = ({ param, lr }: Update, weightDecay: number): Value =>
  weightDecay === 0 ? param : np.mul(param, same(np.sub(scalarConstant("f32", 1), np.mul(lr, weightDecay)), param));

/** β^step, and 1 − β^step without cancellation. */
export function powerOf(beta: Value | number, step: Value): { readonly power: Value; readonly complement: Value } {
  const exponent = np.mul(step, typeof beta === "number" ? Math.log(beta) : log([beta]));
  return { power: exp([exponent]), complement: np.mul(expm1([exponent]), -1) };
}

export const isFirst = (u: Clock): Value => np.eq(u.step, 1);

/** A quotient, or `otherwise` where the divisor is 0. */
export const ratio = (a: Value, b: Value, otherwise: number): Value =>
  where(np.gt(b, 0), np.div(a, where(np.gt(b, 0), b, 1)), otherwise);
