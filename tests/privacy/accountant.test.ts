import { describe, expect, it } from "vitest";
import { noiseFor, type PrivacyOptions, privacySpent, renyiDivergence } from "../../compiler/privacy/accountant.js";

const mnist = (noiseMultiplier: number, epochs: number): PrivacyOptions => ({
  noiseMultiplier,
  samplingRate: 256 / 60_000,
  steps: Math.ceil((epochs * 60_000) / 256),
  delta: 1e-5,
});

/**
 * The Rényi divergence by its definition, E over N(0, σ²) of ((1 − q) + q e^((2z − 1) / 2σ²))^α, as a sum over a fine grid.
 */
function byQuadrature(q: number, sigma: number, order: number): number {
  const step = sigma / 400;
  let sum = 0;
  for (let z = -12 * sigma; z <= order + 12 * sigma; z += step) {
    const density = Math.exp(-(z * z) / (2 * sigma * sigma)) / (sigma * Math.sqrt(2 * Math.PI));
    sum += density * (1 - q + q * Math.exp((2 * z - 1) / (2 * sigma * sigma))) ** order * step;
  }
  return Math.log(sum) / (order - 1);
}

describe("the accountant of DP-SGD", () => {
  it.each([
    [0.01, 1, 2],
    [0.01, 1, 5],
    [256 / 60_000, 1.1, 9],
    [0.2, 2, 12],
    [0.9, 3, 4],
  ])("has the divergence of the definition: q %f, σ %f, order %i", (q, sigma, order) => {
    const found = renyiDivergence(q, sigma, order);
    expect(found / byQuadrature(q, sigma, order)).toBeCloseTo(1, 6);
  });

  it("is the Gaussian mechanism where every sample is used, and nothing where none is", () => {
    expect(renyiDivergence(1, 2, 6)).toBeCloseTo(6 / (2 * 4), 12);
    expect(renyiDivergence(1 - 1e-12, 2, 6)).toBeCloseTo(6 / (2 * 4), 9);
    expect(renyiDivergence(0, 2, 6)).toBe(0);
  });

  it("gives the values that Opacus publishes", () => {
    // https://opacus.ai/api/compute_dp_sgd_privacy.html: --epochs=3 --sample-rate 0.01 --noise-multiplier 1.0 --alphas 2 5 10 20 100
    const now = { noiseMultiplier: 1, samplingRate: 0.01, steps: 300, delta: 1e-5, orders: [2, 5, 10, 20, 100] };
    expect(privacySpent(now).epsilon).toBeCloseTo(2.39, 2);
    expect(privacySpent(now).order).toBe(5);
    // The same page of its first versions: --batch-size=256 --noise_multiplier=1.12 --epochs=60 --a 10 20 100, steps rounded up in each epoch.
    const before = { ...mnist(1.12, 60), steps: 60 * 235, orders: [10, 20, 100], conversion: "classic" as const };
    expect(privacySpent(before).epsilon).toBeCloseTo(2.95, 2);
  });

  it("gives those of the tutorials of TensorFlow Privacy, to the hundredth that orders between integers save", () => {
    // The table of https://github.com/tensorflow/privacy/tree/master/tutorials: noise, epochs, ε at δ = 1e-5.
    for (const [noise, epochs, epsilon] of [
      [1.3, 15, 1.18],
      [1.1, 60, 3.01],
      [0.7, 45, 7.1],
    ] as const) {
      const found = privacySpent({ ...mnist(noise, epochs), conversion: "classic" }).epsilon;
      expect(found).toBeGreaterThan(epsilon - 0.005);
      expect(found / epsilon).toBeLessThan(1.012);
    }
  });

  it("spends less with more noise, fewer steps and samples, and a larger δ", () => {
    const base = mnist(1, 10);
    const { epsilon } = privacySpent(base);
    expect(privacySpent({ ...base, noiseMultiplier: 1.2 }).epsilon).toBeLessThan(epsilon);
    expect(privacySpent({ ...base, steps: 100 }).epsilon).toBeLessThan(epsilon);
    expect(privacySpent({ ...base, samplingRate: 0.001 }).epsilon).toBeLessThan(epsilon);
    expect(privacySpent({ ...base, delta: 1e-3 }).epsilon).toBeLessThan(epsilon);
    expect(privacySpent({ ...base, conversion: "classic" }).epsilon).toBeGreaterThan(epsilon);
  });

  it("finds the noise for a budget", () => {
    const { noiseMultiplier: _, ...training } = mnist(1, 20);
    for (const epsilon of [0.5, 2, 8]) {
      const noiseMultiplier = noiseFor({ ...training, epsilon });
      expect(privacySpent({ ...training, noiseMultiplier }).epsilon).toBeLessThanOrEqual(epsilon);
      expect(privacySpent({ ...training, noiseMultiplier: 0.995 * noiseMultiplier }).epsilon).toBeGreaterThan(epsilon);
    }
  });

  it("refuses what is out of range, all of it at once", () => {
    const wrong = { noiseMultiplier: 0, samplingRate: 2, steps: 10, delta: 1, orders: [] };
    expect(() => privacySpent(wrong)).toThrow(
      /4 problems:\n.*noiseMultiplier is more than 0.*\n.*samplingRate.*\n.*delta/,
    );
    expect(() => privacySpent({ ...mnist(1, 1), orders: [1] })).toThrow(/orders/);
    expect(() => noiseFor({ ...mnist(1, 1), epsilon: 0 })).toThrow(/epsilon is more than 0/);
  });
});
