/** Spoken digits as the energies that the ear hears; see spoken/README.md. */

import { readSafetensors } from "wasmith/data";

const rate = 8000;
/** Samples of a frame, and from one to the next: 32 and 16 ms. */
const [size, hop] = [256, 128];
/** Seconds from one frame to the next. */
export const frameTime = hop / rate;
/** Bands that a frame is divided into. */
export const bands = 24;

export interface Recording {
  readonly digit: number;
  readonly speaker: number;
  readonly take: number;
  readonly samples: Float32Array;
}

/** Takes 0 and 1 of each digit by each speaker are kept to measure on. */
export async function recordings(part: "train" | "test"): Promise<readonly Recording[]> {
  const all = await readSafetensors(new URL("./spoken/digits.safetensors.gz", import.meta.url));
  const column = (name: string) => Array.from(all[name]!.data, Number);
  const [offsets, speakers, takes] = [column("offsets"), column("speaker"), column("take")];
  const audio = all.audio!.data as Int16Array;
  return column("label")
    .map((digit, i) => ({
      digit,
      speaker: speakers[i]!,
      take: takes[i]!,
      samples: Float32Array.from(audio.subarray(offsets[i], offsets[i + 1]), (s) => s / 32768),
    }))
    .filter((_, i) => takes[i]! < 2 === (part === "test"));
}

const mel = (hertz: number) => 2595 * Math.log10(1 + hertz / 700);

/** Triangles that overlap, as wide as the ear hears apart: which frequencies (of size / 2 + 1) are in a band, and how much of each. */
const triangles = Array.from({ length: bands }, (_, band) => {
  const step = mel(rate / 2) / (bands + 1);
  const shares = Array.from(
    { length: size / 2 + 1 },
    (_, k) => 1 - Math.abs(mel((k * rate) / size) / step - (band + 1)),
  );
  const first = shares.findIndex((share) => share > 0);
  return { first, shares: shares.filter((share) => share > 0) };
});

/** Hann's window. */
const window = Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));

const turn = Array.from({ length: size / 2 }, (_, k) => (-2 * Math.PI * k) / size);
const [cosines, sines] = [Float64Array.from(turn, Math.cos), Float64Array.from(turn, Math.sin)];
/** Places whose bits are in reverse order. */
const mirrored = Array.from({ length: size }, (_, i) =>
  Number.parseInt([...i.toString(2).padStart(Math.log2(size), "0")].reverse().join(""), 2),
);

/** Energies of the frequencies of a frame [size]: the fast Fourier transform of Cooley and Tukey, by halves. */
function spectrum(frame: Float32Array): Float64Array {
  const re = new Float64Array(size);
  const im = new Float64Array(size);
  for (let i = 0; i < size; i++) re[mirrored[i]!] = window[i]! * frame[i]!;
  for (let half = 1; half < size; half *= 2)
    for (let start = 0; start < size; start += 2 * half)
      for (let k = 0; k < half; k++) {
        const [a, b] = [start + k, start + k + half];
        const [c, s] = [cosines[(k * size) / (2 * half)]!, sines[(k * size) / (2 * half)]!];
        const x = re[b]! * c - im[b]! * s;
        const y = re[b]! * s + im[b]! * c;
        re[b] = re[a]! - x;
        im[b] = im[a]! - y;
        re[a]! += x;
        im[a]! += y;
      }
  return re.map((x, k) => x ** 2 + im[k]! ** 2);
}

/** Logarithms of the energies in each band [frames · bands], of mean 0 and deviation 1 over all of them. */
export function logMel(samples: Float32Array): Float32Array {
  const frames = 1 + Math.floor((samples.length - size) / hop);
  const features = new Float32Array(frames * bands);
  for (let t = 0; t < frames; t++) {
    const energies = spectrum(samples.subarray(t * hop, t * hop + size));
    triangles.forEach(({ first, shares }, band) => {
      let energy = 0;
      for (let k = 0; k < shares.length; k++) energy += shares[k]! * energies[first + k]!;
      features[t * bands + band] = Math.log(energy + 1e-6);
    });
  }
  const mean = features.reduce((a, b) => a + b, 0) / features.length;
  const deviation = Math.sqrt(features.reduce((a, b) => a + (b - mean) ** 2, 0) / features.length);
  return features.map((f) => (f - mean) / deviation);
}
