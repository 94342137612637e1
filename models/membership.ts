/**
 * How often an attacker is right who is shown a sample that was learnt from and one that was not, and takes the one with the smaller loss for
 * the former: 0.5 is chance. Yeom et al., "Privacy risk in machine learning", 2018 (https://arxiv.org/abs/1709.01604).
 */
export function membership(seen: Float32Array, unseen: Float32Array): number {
  let right = 0;
  for (const a of seen) for (const b of unseen) right += a < b ? 1 : a === b ? 0.5 : 0;
  return right / seen.length / unseen.length;
}
