/** What `fit` returns. */
import type { EpochEvent } from "./events.js";

/** Losses of batches over the whole run, thinned so that there are never more than some. */
export interface Curve {
  /** Batches that a point stands for. */
  readonly stride: number;
  /** Mean losses, in order. */
  readonly losses: readonly number[];
}

/** Points of a curve, at most. Even. */
const most = 2000;

/** An event an epoch, and the losses of batches as a curve. */
export class History extends Array<EpochEvent> {
  /** What is made of it is an ordinary array. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  #losses: number[] = [];
  #stride = 1;
  #sum = 0;
  #count = 0;

  /** Adds a batch. */
  note(loss: number): void {
    this.#sum += loss;
    if (++this.#count < this.#stride) return;
    this.#losses.push(this.#sum / this.#count);
    this.#sum = 0;
    this.#count = 0;
    if (this.#losses.length < most) return;
    this.#losses = this.#losses.flatMap((loss, i) => (i % 2 ? (this.#losses[i - 1]! + loss) / 2 : []));
    this.#stride *= 2;
  }

  get curve(): Curve {
    return { stride: this.#stride, losses: [...this.#losses] };
  }

  /** The curves as one SVG: `await writeFile("training.svg", await history.toSVG())`, or `element.innerHTML`. */
  async toSVG(title = "Training"): Promise<string> {
    const { drawing } = await import("./svg.js");
    return drawing(title, this, this.curve);
  }

  /** A page of its own with curves of loss, metrics, rate and time, and a table; it needs no network. */
  async toHTML(title = "Training"): Promise<string> {
    const { reportPage } = await import("./report.js");
    return reportPage(title, this, this.curve);
  }
}
