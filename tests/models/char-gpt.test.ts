/** The GPT that goes on from its caches writes what the one that reads the whole text anew would write. */

import { expect, it } from "vitest";
import { compile } from "../../index.js";
import program from "../../models/char-gpt/train.js";
import { load, type Tensor } from "../../runtime/index.js";

it("decodes by its caches what predict finds most probable", async () => {
  const session = await load(await compile(program, { variants: ["simd128"] }), { threads: 1 });
  // The most probable letter alone reaches so little.
  const sampling = { temperature: Float32Array.of(1), topP: Float32Array.of(1e-6) };
  const i32 = (letters: readonly number[]) =>
    ({ dtype: "i32", shape: [1, letters.length], data: Int32Array.from(letters) }) as const;
  for (const prompt of [[0, 13, 1, 18], [0]]) {
    const text = [...prompt];
    while (text.length < 16) {
      const { output } = await session.predict({ x: i32(text) });
      const last = Array.from((output as Tensor).data, Number).slice(-27);
      const { letter } =
        text.length === prompt.length
          ? await session.prefill({ prompt: i32(text), ...sampling })
          : await session.decode({ letter: i32(text.slice(-1)), ...sampling });
      expect(letter).toBe(last.indexOf(Math.max(...last)));
      // Any letters will do, and varied ones show more.
      text.push((Number(letter) + text.length) % 27);
    }
    expect(session.getState("gpt.written").data[0]).toBe(15n);
  }
  session.dispose();
});
