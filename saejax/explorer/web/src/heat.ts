// Where a concept fires: over the patches of a picture, in the words of a text.
import { h } from './dom';
import type { Child } from './dom';
import type { Concept, PictureHeat, TextHeat } from './format';
import { digits, plural } from './numbers';

const STEPS = 254; // Of a byte; UNKNOWN where the store has no row.
const UNKNOWN = 255;
const HALF = STEPS / 2; // From which cells are outlined.
const SIDE = 240; // Pixels of the longer side of what lies over a picture.

/** Bytes of all cells, row by row. */
export function spread({ w, h: high, q, at, rest }: PictureHeat): Uint8Array {
  const cells = new Uint8Array(w * high).fill(rest ?? 0);
  q.forEach((byte, i) => (cells[at?.[i] ?? i] = byte));
  return cells;
}

const fires = (q: number) => q > 0 && q !== UNKNOWN;

/** The activation that a side's largest byte stands for; 0 without maps. */
export const scaleOf = (concept: Concept, side: 'images' | 'texts'): number =>
  concept.heat_scale?.[side] ?? 0;

const value = (q: number, scale: number) => digits((q / STEPS) * scale);

/** Cells in which it fires, the strongest first. */
function strongest(cells: Uint8Array): number[] {
  return [...cells.keys()].filter((i) => fires(cells[i]))
    .sort((a, b) => cells[b] - cells[a] || a - b);
}

/** A map in words. */
export function patchWords(heat: PictureHeat, scale: number): string {
  const cells = spread(heat);
  const known = cells.filter((q) => q !== UNKNOWN).length;
  const [first, ...others] = strongest(cells);
  if (first === undefined) return `fires on none of ${known} patches`;
  const [row, column] = [Math.floor(first / heat.w) + 1, (first % heat.w) + 1];
  return (
    `fires on ${others.length + 1} of ${plural(known, 'patch', 'patches')}, ` +
    `most in row ${row}, column ${column}: ${value(cells[first], scale)}`
  );
}

/** The strongest patches of a picture, as text. */
export function patchList(heat: PictureHeat, scale: number): HTMLElement {
  const cells = spread(heat);
  const rows = strongest(cells).slice(0, 6).map((i) =>
    h('li', {}, `Row ${Math.floor(i / heat.w) + 1}, column ` +
      `${(i % heat.w) + 1}: `, h('b', {}, value(cells[i], scale))));
  return h('ol', { class: 'patch-list' }, ...rows);
}

/** The patch under a pointer, and its activation. */
export function patchAt(
  heat: PictureHeat,
  scale: number,
  x: number,
  y: number,
): string {
  const column = Math.min(heat.w - 1, Math.max(0, Math.floor(x * heat.w)));
  const row = Math.min(heat.h - 1, Math.max(0, Math.floor(y * heat.h)));
  const q = spread(heat)[row * heat.w + column];
  const told = q === UNKNOWN ? 'not kept in the store' : value(q, scale);
  return `Row ${row + 1}, column ${column + 1}: ${told}`;
}

function hatch(pen: CanvasRenderingContext2D, box: number[]) {
  const [x, y, w, high] = box;
  pen.save();
  pen.beginPath();
  pen.rect(x, y, w, high);
  pen.clip();
  pen.strokeStyle = 'rgb(150 156 168 / 70%)';
  pen.lineWidth = 2;
  for (let at = -high; at < w; at += 9) {
    pen.beginPath();
    pen.moveTo(x + at, y + high);
    pen.lineTo(x + at + high, y);
    pen.stroke();
  }
  pen.restore();
}

/** Lines around the cells that have at least half of the largest. */
function outline(pen: CanvasRenderingContext2D, heat: PictureHeat, q: Uint8Array) {
  const [w, high] = [pen.canvas.width / heat.w, pen.canvas.height / heat.h];
  const inside = (row: number, column: number) =>
    row >= 0 && column >= 0 && row < heat.h && column < heat.w
    && q[row * heat.w + column] >= HALF && q[row * heat.w + column] !== UNKNOWN;
  const path = new Path2D();
  const line = (x: number, y: number, toX: number, toY: number) => {
    path.moveTo(x * w, y * high);
    path.lineTo(toX * w, toY * high);
  };
  for (let y = 0; y < heat.h; y++) {
    for (let x = 0; x < heat.w; x++) {
      if (!inside(y, x)) continue;
      if (!inside(y - 1, x)) line(x, y, x + 1, y);
      if (!inside(y + 1, x)) line(x, y + 1, x + 1, y + 1);
      if (!inside(y, x - 1)) line(x, y, x, y + 1);
      if (!inside(y, x + 1)) line(x + 1, y, x + 1, y + 1);
    }
  }
  pen.lineCap = 'square';
  for (const [width, colour] of [[9, '#0a0c12'], [4, '#ffffff']] as const) {
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.stroke(path);
  }
}

/** What lies over a picture: darkness where it is silent, lines, gaps. */
function draw(heat: PictureHeat, veil: HTMLCanvasElement, lines: HTMLCanvasElement) {
  const q = spread(heat);
  const [pen, over] = [veil.getContext('2d')!, lines.getContext('2d')!];
  const [w, high] = [veil.width / heat.w, veil.height / heat.h];
  q.forEach((byte, i) => {
    const [x, y] = [(i % heat.w) * w, Math.floor(i / heat.w) * high];
    // Cells end at whole pixels, so that no light shows between them.
    const box = [Math.round(x), Math.round(y)];
    box.push(Math.round(x + w) - box[0], Math.round(y + high) - box[1]);
    const dark = byte === UNKNOWN ? 1 : 1 - byte / STEPS;
    pen.fillStyle = `rgb(8 10 16 / ${Math.round(100 * dark)}%)`;
    pen.fillRect(box[0], box[1], box[2], box[3]);
    if (byte === UNKNOWN) hatch(pen, box);
  });
  outline(over, heat, q);
}

/** A map over a picture; it has the picture's own shape, to lie as it does. */
export function overlay(image: HTMLImageElement, heat: PictureHeat): Node[] {
  const canvas = (name: string) => h('canvas', {
    class: name, width: SIDE, height: SIDE, 'aria-hidden': 'true',
  });
  const [veil, lines] = [canvas('veil'), canvas('outline')];
  if (!spread(heat).some(fires)) return [];
  image.addEventListener('load', () => {
    const { naturalWidth: w, naturalHeight: high } = image;
    const grow = SIDE / Math.max(w, high, 1);
    for (const each of [veil, lines]) {
      each.width = Math.max(1, Math.round(w * grow));
      each.height = Math.max(1, Math.round(high * grow));
    }
    draw(heat, veil, lines);
  });
  return [veil, lines];
}

function key(swatch: string, ...label: Child[]): HTMLElement {
  return h('li', {}, h('span', { class: `swatch ${swatch}` }), ...label);
}

function ramp(kind: string, scale: number): HTMLElement {
  return h(
    'li',
    { class: 'ramp' },
    h('span', {}, '0'),
    h('span', { class: `scale ${kind}`, 'aria-hidden': 'true' }),
    h('span', {}, h('b', {}, digits(scale)), ', its largest'),
  );
}

/** What a map over pictures means, and how much of it is seen. */
export function patchControls(scale: number, gaps: boolean): HTMLElement {
  const style = () => box.closest<HTMLElement>('section, dialog')!;
  const slider = h('input', {
    type: 'range', min: 0, max: 100, value: 60,
    'aria-label': 'How dark patches are in which it is silent',
    on: {
      input: () => style().style.setProperty('--veil', `${slider.value}%`),
    },
  });
  const shown = h('input', {
    type: 'checkbox', checked: true,
    on: {
      change: () => {
        style().classList.toggle('unmapped', !shown.checked);
        slider.disabled = !shown.checked;
      },
    },
  });
  const box = h(
    'div',
    { class: 'heat-controls' },
    h('label', {}, shown, 'Where it fires'),
    h('label', {}, 'Darkness', slider),
    h(
      'ul',
      { class: 'heat-legend' },
      ramp('patches', scale),
      key('outlined', 'half of it or more'),
      gaps ? key('hatched', 'not kept in the store') : null,
    ),
  );
  return box;
}

/** The legend of words. */
export function wordLegend(scale: number, gaps: boolean): HTMLElement {
  return h(
    'ul',
    { class: 'heat-legend' },
    ramp('words', scale),
    gaps ? key('unkept', 'grey: not kept in the store') : null,
  );
}

export const hasGaps = (heat: { q: number[]; rest?: number } | null) =>
  heat !== null && (heat.rest === UNKNOWN || heat.q.includes(UNKNOWN));

/** A text whose words are lit by activation; those that fire tell it. */
export function words(heat: TextHeat, scale: number): HTMLElement {
  const line = h('span', { class: 'said lit', dir: 'auto' });
  heat.tokens.forEach((token, i) => {
    const q = heat.q[i] ?? UNKNOWN;
    const bare = token.trimStart();
    line.append(token.slice(0, token.length - bare.length));
    if (!fires(q)) {
      line.append(q === UNKNOWN ? h('span', { class: 'unkept' }, bare) : bare);
      return;
    }
    const told = value(q, scale);
    line.append(
      h(
        'mark',
        {
          class: 'word', tabindex: -1, 'data-value': told,
          css: { '--heat': `${Math.round((100 * q) / STEPS)}%` },
        },
        bare,
        h('span', { class: 'unseen' }, ` (activation ${told})`),
      ),
    );
  });
  return line;
}

/** One stop of the tab key for all words in a box; arrows go between them. */
export function walkWords(box: HTMLElement): HTMLElement {
  const all = () => [...box.querySelectorAll<HTMLElement>('mark.word')];
  const first = all()[0];
  if (first) first.tabIndex = 0;
  box.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[
      event.key
    ];
    const list = all();
    const at = list.indexOf(event.target as HTMLElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = list[Math.min(list.length - 1, Math.max(0, at + step))];
    list[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  return box;
}
