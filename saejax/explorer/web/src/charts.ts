// Histogram and percentile bars of a concept.
import { h, s } from './dom';
import type { Concept } from './format';
import { digits } from './numbers';

const WIDTH = 360;
const HALF = 46;
const FOOT = 16;

/** Activations on images upwards and on texts downwards, by a log scale. */
export function histogram({ edges, image, text }: Concept['histogram']) {
  const total = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  const [images, texts] = [total(image), total(text)];
  if (!images && !texts) return null;
  // Shares, as the two sides have different numbers of rows; on a root scale.
  const most = Math.max(
    ...image.map((c) => c / (images || 1)),
    ...text.map((c) => c / (texts || 1)),
  );
  const high = (share: number) => HALF * Math.sqrt(share / most);
  const wide = WIDTH / image.length;
  const bars = image.flatMap((_, k) => {
    const up = high(image[k] / (images || 1));
    const down = high(text[k] / (texts || 1));
    const bar = { x: k * wide + 0.5, width: Math.max(1, wide - 1) };
    return [
      s('rect', { ...bar, y: HALF - up, height: up, class: 'image' }),
      s('rect', { ...bar, y: HALF + 1, height: down, class: 'text' }),
    ];
  });
  const ticks = [0, Math.floor(edges.length / 2), edges.length - 1];
  const labels = ticks.map((tick, place) =>
    s(
      'text',
      {
        x: (tick / (edges.length - 1)) * WIDTH,
        y: 2 * HALF + FOOT,
        'text-anchor': ['start', 'middle', 'end'][place],
      },
      digits(edges[tick]),
    ),
  );
  const said =
    `Activations from ${digits(edges[0])} to ${digits(edges.at(-1))}: ` +
    `${images} on images, ${texts} on texts`;
  return h(
    'figure',
    { class: 'histogram' },
    s(
      'svg',
      {
        viewBox: `0 0 ${WIDTH} ${2 * HALF + FOOT + 4}`,
        role: 'img',
        'aria-label': said,
      },
      s('line', { x1: 0, x2: WIDTH, y1: HALF + 0.5, y2: HALF + 0.5 }),
      ...bars,
      ...labels,
    ),
    h(
      'figcaption',
      {},
      `Activation (log scale) by share of firing rows: ${digits(images)} ` +
        `images above, ${digits(texts)} texts below.`,
    ),
  );
}

/** Where a value stands among those of all concepts. */
export function percentileBar(share: number): HTMLElement {
  const known = Number.isFinite(share);
  return h(
    'span',
    {
      class: 'percentile',
      css: known ? { '--share': `${Math.round(100 * share)}%` } : {},
      title: known
        ? `Higher than ${Math.round(100 * share)} % of concepts` : 'Not known',
    },
    h(
      'span',
      { class: 'unseen' },
      known ? `higher than ${Math.round(100 * share)} % of concepts` : '',
    ),
  );
}
