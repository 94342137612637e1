/** Colour pictures [3, side, side] of values in [0, 1], made by seeded programs: scenes, a painting, and patches of textures. */

import { type Random, randomOf } from "wasmith/data";
import type { Tensor } from "wasmith/runtime";

type Colour = readonly [red: number, green: number, blue: number];
/** A colour at a place, x and y from 0 to 1. */
type Paint = (x: number, y: number) => Colour;

const colourOf = (random: Random): Colour => [random.uniform(), random.uniform(), random.uniform()];

const mixed = (a: Colour, b: Colour, share: number): Colour => [
  a[0] + share * (b[0] - a[0]),
  a[1] + share * (b[1] - a[1]),
  a[2] + share * (b[2] - a[2]),
];

/** A disc, a box or a triangle at a place: whether x and y are inside. */
function shapeAt(random: Random, left: number): (x: number, y: number) => boolean {
  const [top, size] = [random.between(0.4, 0.65), random.between(0.17, 0.26)];
  const kind = random.integer(3);
  return (x, y) => {
    const [dx, dy] = [(x - left) / size, (y - top) / size];
    if (kind === 0) return Math.hypot(dx, dy) < 1;
    if (kind === 1) return Math.max(Math.abs(dx), Math.abs(dy)) < 0.85;
    return dy > -1 && dy < 0.8 && Math.abs(dx) < 0.5 + dy / 2;
  };
}

/** Two dark or bright shapes on the ground, before a sky of another brightness. */
function scene(random: Random): Paint {
  const isDay = random.chance(0.5);
  const [dark, bright] = [mixed(colourOf(random), [0, 0, 0], 0.65), mixed(colourOf(random), [1, 1, 1], 0.6)];
  const [back, front] = isDay ? [bright, dark] : [dark, bright];
  const shapes = [shapeAt(random, random.between(0.22, 0.34)), shapeAt(random, random.between(0.66, 0.78))];
  const horizon = random.between(0.72, 0.85);
  return (x, y) => {
    if (shapes.some((inside) => inside(x, y))) return front;
    return y > horizon ? mixed(back, front, 0.6) : mixed(back, front, 0.25 * (1 - y));
  };
}

/** Kinds of textures, which a classifier can tell apart. */
export const textures = ["rows", "columns", "rising", "falling", "checks", "dots", "rings", "nothing"] as const;

/** Two colours in a texture. */
function texture(random: Random, kind: (typeof textures)[number]): Paint {
  const [a, b] = [colourOf(random), colourOf(random)];
  const [wave, turn] = [2 * Math.PI * random.between(4, 9), random.between(0, 2 * Math.PI)];
  const sharp = (v: number) => mixed(a, b, 1 / (1 + Math.exp(-4 * v)));
  const at = (v: number) => Math.sin(wave * v + turn);
  return {
    rows: (_: number, y: number) => sharp(at(y)),
    columns: (x: number) => sharp(at(x)),
    rising: (x: number, y: number) => sharp(at(0.7 * (x + y))),
    falling: (x: number, y: number) => sharp(at(0.7 * (x - y))),
    checks: (x: number, y: number) => sharp(3 * at(x) * at(y)),
    dots: (x: number, y: number) => sharp(3 * (at(x) + at(y) - 1)),
    rings: (x: number, y: number) => sharp(at(Math.hypot(x - 0.5, y - 0.5))),
    nothing: (x: number, y: number) => mixed(a, b, (x + y) / 2),
  }[kind];
}

function painted(paints: readonly Paint[], side: number): Tensor<"f32"> {
  const data = new Float32Array(paints.length * 3 * side * side);
  paints.forEach((paint, i) => {
    for (let y = 0; y < side; y++)
      for (let x = 0; x < side; x++)
        paint((x + 0.5) / side, (y + 0.5) / side).forEach((v, c) => {
          data[((i * 3 + c) * side + y) * side + x] = v;
        });
  });
  return { dtype: "f32", shape: [paints.length, 3, side, side], data };
}

/** Scenes of two shapes, with the grain of a photograph: [count, 3, side, side]. */
export function scenes(count: number, side: number, seed: number): Tensor<"f32"> {
  const random = randomOf(seed);
  const plain = painted(
    Array.from({ length: count }, () => scene(random)),
    side,
  );
  return { ...plain, data: plain.data.map((v) => Math.min(1, Math.max(0, v + random.between(-0.1, 0.1)))) };
}

/** Patches `x` [count, 3, side, side], and which kind each is, `y`. */
export function patches(count: number, side: number, seed: number) {
  const random = randomOf(seed);
  const y = Int32Array.from({ length: count }, () => random.integer(textures.length));
  const x = painted(
    Array.from(y, (kind) => texture(random, textures[kind]!)),
    side,
  );
  return { x, y };
}

/** The picture whose style is learnt, of brush strokes that swirl around two lights: [1, 3, side, side]. */
export function brushStrokes(side: number): Tensor<"f32"> {
  const random = randomOf(11);
  const lights = [
    [0.3, 0.35],
    [0.75, 0.65],
  ] as const;
  const [night, blue, pale, yellow, orange]: readonly Colour[] = [
    [0.05, 0.09, 0.3],
    [0.15, 0.35, 0.75],
    [0.75, 0.87, 0.95],
    [0.98, 0.85, 0.3],
    [0.9, 0.5, 0.12],
  ];
  const picture = painted([() => night!], side);
  for (let stroke = 0; stroke < 420; stroke++) {
    const [x, y] = [random.uniform(), random.uniform()];
    const [near, far] = lights.map((light) => Math.hypot(x - light[0], y - light[1])).sort((a, b) => a - b);
    const [cx, cy] = near === Math.hypot(x - lights[0][0], y - lights[0][1]) ? lights[0] : lights[1];
    const angle = Math.atan2(y - cy, x - cx) + Math.PI / 2 + 0.3 * Math.sin(9 * far!);
    const choice = near! < 0.14 ? [yellow, yellow, orange, pale] : [night, blue, blue, pale, night];
    const colour = choice[random.integer(choice.length)]!;
    const [length, width] = [random.between(0.06, 0.11), random.between(0.016, 0.024)];
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    for (let i = 0; i < side; i++)
      for (let j = 0; j < side; j++) {
        const [dx, dy] = [(j + 0.5) / side - x, (i + 0.5) / side - y];
        const [along, across] = [(dx * cos + dy * sin) / length, (dy * cos - dx * sin) / width];
        if (along ** 2 + across ** 2 > 1) continue;
        // Paint is thin at the lower edge.
        const shade = 1 - 0.25 * Math.max(0, across);
        colour.forEach((v, c) => {
          picture.data[(c * side + i) * side + j] = v * shade;
        });
      }
  }
  return picture;
}
