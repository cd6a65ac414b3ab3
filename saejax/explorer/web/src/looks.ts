// Size, opacity and order of the map's points.
import { descending, sortedColumn } from './sae';
import type { Sae } from './sae';
import { percentile } from './numbers';
import type { Look } from './scene';

const FAINT = 16; // Opacity of what a search leaves out.
const UNRELIABLE = 0.5; // Neighbourhoods kept, below which points fade.

/** Ranks of a column's values, 0..255; 0 where undefined. */
function sizes(sae: Sae, name: string): Uint8Array {
  const values = sae.columns.get(name) ?? sae.columns.get('energy')!;
  const sorted = sortedColumn(sae, sae.columns.has(name) ? name : 'energy');
  return Uint8Array.from(values, (v) =>
    Number.isNaN(v) ? 0 : 255 * percentile(sorted, v) ** 3,
  );
}

/** Opacity by stability; where it was not measured, as if it were high. */
function opacities(sae: Sae): Uint8Array {
  const stability = sae.columns.get('stability');
  return Uint8Array.from({ length: sae.n }, (_, i) => {
    const v = stability ? stability[i] : NaN;
    return Number.isNaN(v) ? 225 : 90 + 150 * Math.min(1, Math.max(0, v));
  });
}

export interface Asked {
  size: string;
  fade: boolean;
  found: Uint32Array | null; // null: nothing was searched.
}

/** Small points lie over large ones, and what was found over the rest. */
export function makeLook(sae: Sae, { size, fade, found }: Asked): Look {
  const bytes = new Uint8Array(4 * sae.n);
  const bySize = sizes(sae, size);
  const opacity = opacities(sae);
  const faithful = sae.columns.get('faithful');
  const within = new Uint8Array(sae.n).fill(found ? 0 : 1);
  found?.forEach((i) => (within[i] = 1));
  for (let i = 0; i < sae.n; i++) {
    const unreliable = fade && !((faithful?.[i] ?? NaN) >= UNRELIABLE);
    bytes[4 * i] = bySize[i];
    bytes[4 * i + 1] = !within[i] ? FAINT
      : unreliable ? opacity[i] * 0.2 : opacity[i];
    bytes[4 * i + 2] = sae.kind[i];
  }
  const largest = descending(sae.columns.get(size) ?? sae.columns.get('energy')!);
  const order = new Uint32Array(sae.n);
  let at = 0;
  for (const layer of [0, 1]) {
    for (const i of largest) if (within[i] === layer) order[at++] = i;
  }
  return { bytes, order };
}

/** Pixels of the largest radius: more room, larger points. */
export function growth(n: number, zoom: number): number {
  const crowd = Math.min(1.3, Math.max(0.42, Math.sqrt(2500 / n)));
  return 9 * crowd * Math.min(2.6, Math.max(0.8, zoom ** 0.4));
}
