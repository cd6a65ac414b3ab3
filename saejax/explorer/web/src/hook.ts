// What tests and scripts may ask of the page.
import type { Stats } from './map';
import type { Shell } from './shell';
import type { State } from './state';

export interface Hook {
  ready: Promise<void>;
  stats(): Stats | null;
  project(id: number): [number, number] | null; // Pixels of the screen.
  state(): State | null;
  search(text: string): { found: number; ms: number } | null;
}

declare global {
  interface Window {
    __explorer?: Hook;
  }
}

export function offerHook() {
  let shell: Shell | null = null;
  let resolve: () => void;
  let reject: (error: unknown) => void;
  const ready = new Promise<void>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  ready.catch(() => {});
  window.__explorer = {
    ready,
    stats: () => shell?.map()?.stats() ?? null,
    project(id) {
      const map = shell?.map();
      const index = map?.scene.indexOf.get(id);
      if (!map || index === undefined) return null;
      const box = map.element.getBoundingClientRect();
      const [x, y] = map.project(index);
      return [box.left + x, box.top + y];
    },
    state: () => shell?.state() ?? null,
    search: (text) => shell?.time(text) ?? null,
  };
  return {
    showing(next: Shell) {
      shell = next;
      resolve();
    },
    failed: (error: unknown) => reject(error),
  };
}
