/** Bytes, at once and as they come. */

/** Bytes in memory that is not shared, as the platform's own functions demand. */
export type Bytes = Uint8Array<ArrayBuffer>;

export function concatBytes(parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Bytes one after the other, as they come. */
export interface Stream {
  /** The URL against which names of siblings resolve, if there is one. */
  readonly base: URL | null;
  /** Writes the next bytes into `target`; @returns how many: fewer than it has room for at the end only. */
  fill(target: Uint8Array): Promise<number>;
  /** All that is left. */
  rest(): Promise<Uint8Array>;
  /** Nothing more is wanted. */
  close(): void;
}

export async function take(stream: Stream, length: number): Promise<Bytes> {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, await stream.fill(bytes));
}

export function streamOf(bytes: Uint8Array): Stream {
  let left = bytes;
  return {
    base: null,
    async fill(target) {
      const part = left.subarray(0, target.length);
      target.set(part);
      left = left.subarray(part.length);
      return part.length;
    },
    async rest() {
      return left;
    },
    close() {},
  };
}

/** A stream of pieces, which `pull` gives one by one: none at the end. It may use `target` to put one in. */
export function piecewise(
  base: URL | null,
  pull: (target: Uint8Array) => Promise<Uint8Array | undefined>,
  close: () => void,
): Stream {
  let piece: Uint8Array | undefined = new Uint8Array();
  const fill = async (target: Uint8Array): Promise<number> => {
    let at = 0;
    while (piece && at < target.length) {
      const place = target.subarray(at);
      try {
        if (!piece.length) piece = await pull(place);
      } catch (error) {
        close();
        throw error;
      }
      if (!piece) {
        close();
        break;
      }
      const used = piece.subarray(0, place.length);
      if (used.buffer !== place.buffer) place.set(used);
      piece = piece.subarray(used.length);
      at += used.length;
    }
    return at;
  };
  const rest = async (): Promise<Uint8Array> => {
    const parts = [];
    while (piece) {
      const part = new Uint8Array(2 ** 20);
      parts.push(part.subarray(0, await fill(part)));
    }
    return concatBytes(parts);
  };
  return { base, fill, rest, close };
}
