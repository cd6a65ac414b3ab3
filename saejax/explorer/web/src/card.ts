// Everything about one concept.
import type { Context } from './context';
import { later } from './context';
import { captionBands, pictureBands, tile } from './evidence';
import { histogram, percentileBar } from './charts';
import type { Near } from './decoding';
import { button, fill, h, tidy } from './dom';
import { NONE } from './format';
import type { Column, Concept } from './format';
import { conceptLink, section, shape } from './marks';
import { digits, percentile, withUnit } from './numbers';
import {
  edgesOf, edgeValue, kindOf, nameOf, otherEnd, sortedColumn, valueOf,
} from './sae';
import type { Sae } from './sae';

const SHOWN_BRIDGES = 12;
const INTERVALS = new Set(['modality_low', 'modality_high']);

/** A column's value, with the interval and the angle that belong to it. */
function told(sae: Sae, column: Column, index: number): string {
  const value = valueOf(sae, column.name, index);
  const text = withUnit(value, column);
  if (Number.isNaN(value)) return 'not measured';
  if (column.name === 'modality') {
    const low = valueOf(sae, 'modality_low', index);
    const high = valueOf(sae, 'modality_high', index);
    if (Number.isNaN(low)) return text;
    return `${text} (${digits(low)} to ${digits(high)})`;
  }
  if (column.name === 'axis') {
    const degrees = (Math.acos(Math.min(1, Math.abs(value))) * 180) / Math.PI;
    return `${text} (${digits(degrees)}°)`;
  }
  return text;
}

function measures(sae: Sae, index: number): HTMLElement {
  const columns = sae.meta.columns.filter((c) => !INTERVALS.has(c.name));
  const rows = columns.map((column) => {
    const value = valueOf(sae, column.name, index);
    const share = Number.isNaN(value)
      ? NaN : percentile(sortedColumn(sae, column.name), value);
    return h(
      'tr',
      {},
      h('th', { scope: 'row', title: column.definition }, column.label),
      h('td', {}, told(sae, column, index)),
      h('td', {}, percentileBar(share)),
    );
  });
  const definitions = columns.flatMap((column) => [
    h('dt', {}, column.label),
    h('dd', {}, column.definition),
  ]);
  return h(
    'div',
    {},
    h('table', { class: 'measures' }, h('tbody', {}, ...rows)),
    h(
      'details',
      {},
      h('summary', {}, 'What these are'),
      h('dl', {}, ...definitions),
    ),
  );
}

function labels(concept: Concept): HTMLElement {
  if (!concept.labels.length) {
    return h('p', { class: 'quiet' }, 'It has no label.');
  }
  const rows = concept.labels.map((label) => {
    const interval = label.score !== null && label.low !== null
      ? ` (${digits(label.low)} to ${digits(label.high)})` : '';
    const chance = label.null === null || label.null === undefined
      ? '' : `, chance ${digits(label.null)}`;
    const score = label.score === null
      ? 'no score' : `score ${digits(label.score)}${interval}${chance}`;
    return h(
      'li',
      {},
      h('span', { dir: 'auto' }, tidy(label.text, '(blank)', 160)),
      h('span', { class: 'quiet' }, `${label.source}, ${score}`),
    );
  });
  return h('ul', { class: 'labels' }, ...rows);
}

function bridgeRows(context: Context, index: number): HTMLElement {
  const { sae } = context;
  const all = edgesOf(sae, index);
  if (!all.length) {
    return h('p', { class: 'quiet' }, 'No bridge joins it to another concept.');
  }
  const list = h('ul', { class: 'bridge-list' });
  const show = (most: number) =>
    fill(
      list,
      ...Array.from(all.subarray(0, most), (edge) =>
        bridgeRow(context, edge, index),
      ),
    );
  show(SHOWN_BRIDGES);
  const more = all.length > SHOWN_BRIDGES
    ? button(`Show all ${all.length}`, () => {
        show(all.length);
        more?.remove();
      }, { class: 'plain' })
    : null;
  return h('div', {}, list, more);
}

function bridgeRow(context: Context, edge: number, index: number) {
  const { sae } = context;
  const { src, dst } = sae.edges;
  const other = otherEnd(sae, edge, index);
  const excess = edgeValue(sae, 'excess', edge);
  const cosine = edgeValue(sae, 'cosine', edge);
  const strongest = edgeValue(sae, 'excess', 0) || 1;
  const css = {
    '--share': `${Math.round(100 * Math.max(0, excess / strongest))}%`,
  };
  const open = button(
    'Bridge',
    () =>
      context.go(
        { view: 'bridge', b: [sae.ids[src[edge]], sae.ids[dst[edge]]] },
        'push',
      ),
    {
      class: 'plain',
      'aria-label': `Bridge ${edge + 1} to ${nameOf(sae, other, 40)}`,
    },
  );
  return h(
    'li',
    { css },
    conceptLink(context, other, 44),
    h(
      'span',
      { class: 'quiet numbers' },
      `excess ${digits(excess)}, cosine ${digits(cosine)}`,
    ),
    open,
  );
}

function neighbours(context: Context, near: Near, index: number): HTMLElement {
  const side = (title: string, from: number) => {
    const rows: HTMLElement[] = [];
    for (let k = from; k < from + 4; k++) {
      const other = near.index[8 * index + k];
      if (other === NONE) continue;
      const cosine = digits(near.cosine[8 * index + k]);
      rows.push(
        h(
          'li',
          {},
          conceptLink(context, other, 40),
          h('span', { class: 'quiet numbers' }, cosine),
        ),
      );
    }
    return h(
      'div',
      {},
      h('h4', {}, title),
      rows.length ? h('ul', { class: 'near' }, ...rows)
        : h('p', { class: 'quiet' }, 'None.'),
    );
  };
  return h(
    'div',
    { class: 'sides' },
    side('Images', 0),
    side('Texts', 4),
  );
}

function steering(context: Context, concept: Concept): HTMLElement | null {
  const plan = context.sae.meta.steering;
  const lists = concept.steer?.pictures;
  if (!plan || !lists?.length) return null;
  const strip = h('div', { class: 'strip' });
  const shown = h('output', {});
  const show = (at: number) => {
    const strength = plan.strengths[at] ?? 0;
    shown.textContent = `${strength > 0 ? '+' : ''}${digits(strength)}`;
    fill(strip, ...(lists[at] ?? []).map((id) => tile(context, id, null)));
  };
  const middle = Math.max(0, plan.strengths.indexOf(0));
  const slider = h('input', {
    type: 'range', min: 0, max: lists.length - 1, step: 1, value: middle,
    'aria-label': 'Strength of the concept in the query',
    on: { input: () => show(Number(slider.value)) },
  });
  show(middle);
  const { query } = concept.steer!;
  const asked = query === undefined ? null
    : later(context.site.text(query), (text) =>
        h('p', { class: 'said' }, `Query: ${tidy(text, '(blank)', 160)}`));
  return section(
    'Steering',
    h('p', { class: 'quiet' }, plan.what),
    ...(asked ? [asked] : []),
    h('div', { class: 'steer' }, slider, shown),
    strip,
  );
}

function stability(concept: Concept): HTMLElement | null {
  if (!concept.stability) return null;
  const { value, over, all } = concept.stability;
  return h(
    'p',
    {},
    `Best match over ${over}: ${digits(value)}`,
    all.length > 1 ? ` (${all.map(digits).join(', ')})` : '',
  );
}

function details(context: Context, concept: Concept): Node[] {
  const { sae } = context;
  const { index } = concept;
  const pictures = pictureBands(context, concept);
  const captions = captionBands(context, concept);
  const blocks = [
    pictures && section('Pictures', pictures),
    captions && section('Texts', captions),
  ];
  if (kindOf(sae, index) === 'text') blocks.reverse();
  const found: (HTMLElement | null)[] = [
    concept.note ? h('p', { class: 'note' }, concept.note) : null,
    ...blocks,
    pictures || captions
      ? h('p', { class: 'quiet' }, sae.meta.sampling) : null,
    sae.meta.reads === 'tokens'
      ? h('p', { class: 'quiet row-is' }, sae.meta.row) : null,
    section('Bridges', bridgeRows(context, index)),
    section(
      'Measures',
      histogram(concept.histogram) ?? '',
      measures(sae, index),
      stability(concept),
    ),
    section('Labels', labels(concept)),
    section(
      'Nearest concepts',
      h(
        'p',
        { class: 'quiet' },
        'By the cosine of decoder directions; the map can only hint at it.',
      ),
      later(sae.near(), (near) => neighbours(context, near, index)),
    ),
    steering(context, concept),
  ];
  return found.filter((node) => node !== null);
}

/** The card of a concept; examples follow when they have arrived. */
export function conceptCard(context: Context, index: number): HTMLElement {
  const { sae } = context;
  const kind = kindOf(sae, index);
  const source = sae.sources[sae.source[index]];
  const score = valueOf(sae, 'label_score', index);
  const from = sae.labels[index].trim() && source
    ? `Named by ${source.name}` +
      (Number.isNaN(score) ? ', without a score' : `, score ${digits(score)}`)
    : 'Without a label';
  return h(
    'article',
    { class: 'card', 'aria-label': `Concept ${sae.ids[index]}` },
    h(
      'header',
      {},
      h(
        'p',
        { class: 'kicker' },
        shape(kind),
        `${kind} concept ${sae.ids[index]}`,
      ),
      h('h2', { dir: 'auto' }, nameOf(sae, index, 140)),
      h('p', { class: 'quiet', title: source?.how ?? false }, from),
    ),
    later(sae.concept(index), (concept) => details(context, concept), {
      class: 'details',
    }),
  );
}
