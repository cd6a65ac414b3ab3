// Names over the map, as HTML: of clusters from afar, of concepts from near.
import { toScreen } from './camera';
import type { Camera } from './camera';
import { h, tidy } from './dom';
import { nameOf } from './sae';
import type { Sae } from './sae';

export interface Name {
  key: string;
  text: string;
  x: number; // Pixels of the middle, and of the top.
  y: number;
  level: number; // 0..2 of a cluster; 3 of a concept.
}

const SIZES = [19, 15, 12.5, 12]; // Pixels, by level.
const MOST = [14, 26, 44, 48];

/** Which level of cluster names a zoom shows. */
export function levelAt(zoom: number): number {
  return zoom < 1.7 ? 0 : zoom < 4 ? 1 : 2;
}

type Rect = [number, number, number, number];

const apart = (a: Rect, b: Rect) =>
  a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1];

/** Names in the order given, without those that would lie over others. */
export function uncrowded(
  names: Name[],
  camera: Camera,
  widthOf: (text: string, level: number) => number,
): Name[] {
  const taken: Rect[] = [];
  const kept: Name[] = [];
  for (const name of names) {
    const half = widthOf(name.text, name.level) / 2 + 4;
    const high = SIZES[name.level] * 1.3;
    if (name.x < -half || name.x > camera.width + half) continue;
    if (name.y < -high || name.y > camera.height) continue;
    const rect: Rect = [name.x - half, name.y, name.x + half, name.y + high];
    if (!taken.every((other) => apart(rect, other))) continue;
    taken.push(rect);
    kept.push(name);
    if (kept.length >= MOST[name.level]) break;
  }
  return kept;
}

export interface Asked {
  camera: Camera;
  split: boolean;
  seen: number[] | null; // Concepts in sight, if few; the first matter most.
  place(i: number): [number, number];
  below(i: number): number; // Pixels from a concept's middle to its name.
}

export interface NameLayer {
  element: HTMLElement;
  names(asked: Asked): Name[];
  show(names: Name[]): void;
}

export function createNames(sae: Sae): NameLayer {
  const element = h('div', { class: 'names' });
  const pen = document.createElement('canvas').getContext('2d');
  const widths = new Map<string, number>();
  const shown = new Map<string, HTMLElement>();

  function widthOf(text: string, level: number): number {
    const key = `${level}${text}`;
    let width = widths.get(key);
    if (width === undefined) {
      if (pen) pen.font = `600 ${SIZES[level]}px system-ui, sans-serif`;
      width = pen ? pen.measureText(text).width : text.length * 8;
      widths.set(key, width);
    }
    return width;
  }

  function ofClusters({ camera, split }: Asked): Name[] {
    const level = Math.min(
      levelAt(camera.z),
      Math.max(0, ...sae.clusters.map((c) => c.level)),
    );
    return sae.clusters
      .map((cluster, i) => ({ cluster, i }))
      .filter(({ cluster }) => cluster.level === level && cluster.name.trim())
      .sort((a, b) => b.cluster.size - a.cluster.size)
      .map(({ cluster, i }) => {
        const place = split ? cluster.split : cluster.joint;
        const [x, y] = toScreen(camera, ...place);
        const text = tidy(cluster.name, '', 34);
        return { key: `k${i}`, text, x, y: y - SIZES[level] / 2, level };
      });
  }

  function ofConcepts({ seen, place, below }: Asked): Name[] {
    return (seen ?? [])
      .filter((i) => sae.labels[i].trim())
      .map((i) => {
        const [x, y] = place(i);
        const text = nameOf(sae, i, 28);
        return { key: `c${i}`, text, x, y: y + below(i), level: 3 };
      });
  }

  return {
    element,
    names(asked) {
      const all = asked.seen ? ofConcepts(asked) : ofClusters(asked);
      return uncrowded(all, asked.camera, widthOf);
    },
    show(names) {
      const keep = new Set(names.map((name) => name.key));
      for (const [key, old] of shown) {
        if (keep.has(key)) continue;
        old.remove();
        shown.delete(key);
      }
      for (const name of names) {
        let span = shown.get(name.key);
        if (!span) {
          span = h('span', { class: `name level${name.level}` }, name.text);
          shown.set(name.key, span);
          element.append(span);
        }
        span.style.transform =
          `translate(${name.x.toFixed(1)}px, ${name.y.toFixed(1)}px) ` +
          'translateX(-50%)';
      }
    },
  };
}
