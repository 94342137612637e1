/** What is being done, on one line of a terminal that is written over. Nothing where standard error is a file or a pipe. */

/** Milliseconds between two lines: more could not be read. */
const pause = 50;

export class StatusLine {
  #shown = false;
  #last = 0;

  show(text: string): void {
    const now = performance.now();
    if (!process.stderr.isTTY || now - this.#last < pause) return;
    this.#last = now;
    this.#shown = true;
    process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`);
  }

  /** Before anything else is written. */
  clear(): void {
    if (this.#shown) process.stderr.write("\r\x1b[K");
    this.#shown = false;
  }
}
