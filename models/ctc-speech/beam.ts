/** Prefix beam search. Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs", 2014. */

/** A row of labels, and the probability of all ways to have told it so far. */
interface Prefix {
  readonly labels: readonly number[];
  /** Of the ways that end in a blank. */
  blank: number;
  /** Of the ways that end in the last label. */
  told: number;
}

const probability = ({ blank, told }: Prefix) => blank + told;

/**
 * The most probable row of labels, as far as the beam sees. `greedy` takes the most probable way, but a row that can be told in many ways may
 * be more probable. @param probabilities [steps, classes] of the blank (0) and of the labels
 */
export function prefixBeam(probabilities: Float32Array, classes: number, width = 8): readonly number[] {
  let beam: Prefix[] = [{ labels: [], blank: 1, told: 0 }];
  for (let t = 0; t < probabilities.length; t += classes) {
    const next = new Map<string, Prefix>();
    const prefix = (labels: readonly number[]) => {
      const key = labels.join();
      const known = next.get(key) ?? { labels, blank: 0, told: 0 };
      next.set(key, known);
      return known;
    };
    for (const before of beam) {
      const same = prefix(before.labels);
      same.blank += probability(before) * probabilities[t]!;
      for (let label = 1; label < classes; label++) {
        const p = probabilities[t + label]!;
        const again = label === before.labels.at(-1);
        // The last label goes on; behind a blank it is told anew.
        if (again) same.told += before.told * p;
        prefix([...before.labels, label]).told += (again ? before.blank : probability(before)) * p;
      }
    }
    const best = [...next.values()].sort((a, b) => probability(b) - probability(a)).slice(0, width);
    // Products of many steps would vanish.
    const total = best.reduce((sum, p) => sum + probability(p), 0);
    beam = best.map((p) => ({ labels: p.labels, blank: p.blank / total, told: p.told / total }));
  }
  return beam[0]!.labels;
}
