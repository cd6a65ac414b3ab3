// Sheets of small pictures for the map, fetched when they come into sight.
import type { Sae } from './sae';
import { PER_SHEET } from './scene';

const MOST = 8; // Each is 16 MB of graphics memory.

export interface Sheets {
  /** Those of some concepts whose sheets are here; asks for the others. */
  ready(concepts: number[]): Uint32Array;
  /** Gives all sheets that are here again, as a new renderer needs. */
  again(): void;
}

export function createSheets(
  sae: Sae,
  use: (number: number, image: ImageBitmap) => void,
  fail: (error: unknown) => void,
): Sheets {
  const here = new Map<number, ImageBitmap>();
  const asked = new Set<number>();

  async function load(number: number) {
    const name = `map/${String(number).padStart(3, '0')}.webp`;
    const bytes = await sae.folder.binary(name);
    const image = await createImageBitmap(
      new Blob([bytes], { type: 'image/webp' }),
      { premultiplyAlpha: 'none', colorSpaceConversion: 'none' },
    );
    here.set(number, image);
    use(number, image);
  }

  return {
    ready(concepts) {
      return Uint32Array.from(
        concepts.filter((i) => {
          const number = Math.floor(i / PER_SHEET);
          if (!asked.has(number) && asked.size < MOST) {
            asked.add(number);
            load(number).catch(fail);
          }
          return here.has(number);
        }),
      );
    },
    again() {
      here.forEach((image, number) => use(number, image));
    },
  };
}
