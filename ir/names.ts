/** What a misspelt or foreign name was probably meant to be, for messages. `runtime/explain.ts` says the same to those who run models. */

/** Letters to change, add or remove to come from one word to the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length]!;
}

/** The one of the names that was probably meant. */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
  const within = (a: string, b: string) => a.length > 2 && b.includes(a);
  if (name.length > 100) return undefined;
  const [best] = names
    .map((n) => {
      const [a, b] = [plain(name), plain(n)];
      return [n, within(a, b) || within(b, a) ? 1 : distance(a, b)] as const;
    })
    .sort(([, a], [, b]) => a - b);
  return best && best[1] <= Math.max(1, Math.floor(name.length / 3)) ? best[0] : undefined;
}

/** The names that there are, and the one that was probably meant: `whose: a, b; did you mean "a"?` */
export function choices(name: string, names: readonly string[], whose: string): string {
  const meant = names.length > 1 ? nearest(name, names) : undefined;
  return `${whose}: ${names.join(", ") || "none"}${meant === undefined ? "" : `; did you mean "${meant}"?`}`;
}

const common: Readonly<Record<string, string>> = {
  float: "f32",
  double: "f64",
  half: "f16",
  int: "i32",
  long: "i64",
  boolean: "bool",
};
const kinds: Readonly<Record<string, string>> = { float: "f", bfloat: "bf", int: "i", uint: "u" };

/** Our name of an element type that PyTorch, numpy, TensorFlow.js or ONNX Runtime call so. */
export function dtypeCalled(name: unknown): string | undefined {
  if (typeof name !== "string") return undefined;
  const plain = name
    .toLowerCase()
    .replace(/^(torch|tf|np|numpy|jnp)\./, "")
    .replace(/_t$/, "");
  if (Object.hasOwn(common, plain)) return common[plain];
  const [, kind, bits] = /^(float|bfloat|int|uint)(\d+)$/.exec(plain) ?? [];
  return kind === undefined ? undefined : `${kinds[kind]}${bits}`;
}

/** How to pass a tensor of another library (ONNX Runtime's has `type` and `dims`), if it looks like one. */
export function foreignTensorHint(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || !("data" in value) || !("type" in value) || "dtype" in value)
    return undefined;
  const dtype = dtypeCalled(value.type) ?? "f32";
  const shape = "dims" in value ? "t.dims" : "t.shape";
  return `this looks like a tensor of another library (ONNX Runtime): pass { dtype: "${dtype}", shape: ${shape}, data: t.data }`;
}
