/** What the steps of a session's runs take. */

import type { Feeds, ProfileRow, Session } from "../runtime/index.js";

export class Profile {
  /** The least times of each session's steps. */
  private readonly rows = new Map<Session, readonly ProfileRow[]>();

  /** Runs the session once more, step by step. */
  async add(session: Session, inputs: Feeds): Promise<void> {
    const before = this.rows.get(session);
    const now = await session.profile(inputs, { repeat: 1 });
    this.rows.set(session, before ? now.map((row, i) => (row.ms < before[i]!.ms ? row : before[i]!)) : now);
  }

  print(): void {
    for (const rows of this.rows.values()) {
      const all = rows.reduce((sum, { ms }) => sum + ms, 0);
      const lines = [...rows]
        .sort((a, b) => b.ms - a.ms)
        .map(({ name, kernel, ms }) => `${ms.toFixed(3).padStart(10)} ms  ${name}  (${kernel})`);
      console.log([`${all.toFixed(3)} ms in ${rows.length} steps`, ...lines].join("\n"));
    }
  }
}
