// One bridge: an image concept, a text concept, and the pairs that join them.
import type { Context, View } from './context';
import { later } from './context';
import { button, fill, h, tidy } from './dom';
import { tile } from './evidence';
import type { BridgeEvidence, Cell, Concept, PairExample } from './format';
import { scaleOf } from './heat';
import { shape } from './marks';
import { count, digits, percent, withUnit } from './numbers';
import {
  ALIGNED, edgesOf, edgeValue, findEdge, kindOf, nameOf, REPLICATED,
} from './sae';
import type { Sae } from './sae';

const CELLS: [Cell, string][] = [
  ['both', 'Both fire'],
  ['left', 'Only the image concept'],
  ['right', 'Only the text concept'],
  ['neither', 'Neither fires'],
];

function pair(context: Context, example: PairExample): HTMLElement {
  const [pictureId, textId, image, text] = example;
  const said = later(context.site.text(textId), (t) =>
    tidy(t, '(an empty text)', 140), { class: 'said' });
  return h(
    'li',
    { class: 'pair' },
    pictureId >= 0 ? tile(context, pictureId, null) : null,
    h(
      'div',
      {},
      said,
      h(
        'p',
        { class: 'quiet numbers' },
        `image ${digits(image)}, text ${digits(text)}`,
      ),
    ),
  );
}

function cell(
  context: Context,
  evidence: BridgeEvidence,
  [name, title]: [Cell, string],
): HTMLElement {
  const examples = evidence[name];
  const share = evidence.table[name] / evidence.table.pairs;
  return h(
    'section',
    { class: `cell ${name}` },
    h('h3', {}, title),
    h(
      'p',
      { class: 'count' },
      h('strong', {}, count(evidence.table[name])),
      ` pairs, ${percent(share)}`,
    ),
    examples.length
      ? h('ul', {}, ...examples.map((e) => pair(context, e)))
      : h('p', { class: 'quiet' }, 'No example was kept.'),
  );
}

function evidenceOf(context: Context, evidence: BridgeEvidence | null) {
  if (!evidence) {
    return h(
      'p',
      { class: 'note' },
      'Examples were kept of the strongest bridges only, and this is past ' +
        'them; its numbers are above.',
    );
  }
  const { expected, low, high, how } = evidence.null;
  return h(
    'div',
    {},
    h(
      'p',
      { class: 'null' },
      `Both fire on ${count(evidence.table.both)} of ` +
        `${count(evidence.table.pairs)} pairs; by chance it would be ` +
        `${digits(expected)} (${digits(low)} to ${digits(high)}; ${how}).`,
    ),
    h(
      'div',
      { class: 'contingency' },
      ...CELLS.map((c) => cell(context, evidence, c)),
    ),
  );
}

/** What an end fires on most: pictures of the one, words of the other. */
function glimpse(context: Context, concept: Concept, pictures: boolean) {
  const first = <T>(bands: Record<string, T[]>, most: number) =>
    context.sae.meta.bands
      .filter((band) => band.name !== 'none')
      .flatMap((band) => bands[band.name] ?? [])
      .slice(0, most);
  if (pictures) {
    return h(
      'div',
      { class: 'strip' },
      ...first(concept.images, 5).map(([id, activation, heat]) =>
        tile(context, id, activation, heat, scaleOf(concept, 'images')),
      ),
    );
  }
  return h(
    'ul',
    { class: 'glimpse' },
    ...first(concept.texts, 4).map(([id]) =>
      h('li', {}, later(context.site.text(id), (t) =>
        tidy(t, '(an empty text)', 90), { class: 'said' })),
    ),
  );
}

function end(context: Context, index: number, side: string): HTMLElement {
  const { sae } = context;
  const kind = kindOf(sae, index);
  return h(
    'div',
    { class: `end ${side}` },
    h('p', { class: 'kicker' }, shape(kind), `${kind} concept ${sae.ids[index]}`),
    h('h2', { dir: 'auto' }, nameOf(sae, index, 120)),
    button('Open its card', () => context.go({ c: sae.ids[index] }, 'push'), {
      class: 'plain',
      'aria-label': `Open its card, ${nameOf(sae, index, 60)}`,
    }),
    later(sae.concept(index), (concept) =>
      glimpse(context, concept, side === 'from')),
  );
}

function numbersOf(sae: Sae, edge: number): HTMLElement {
  const rows = sae.meta.edge_columns.map((column) =>
    h(
      'div',
      { title: column.definition },
      h('dt', {}, column.label),
      h('dd', {}, withUnit(edgeValue(sae, column.name, edge), column)),
    ),
  );
  rows.unshift(
    h('div', {}, h('dt', {}, 'rank'),
      h('dd', {}, `${count(edge + 1)} of ${count(sae.m)}`)),
  );
  return h('dl', { class: 'facts' }, ...rows);
}

function verdict(sae: Sae, edge: number): string {
  const flags = sae.edges.flags[edge];
  const replicated = flags & REPLICATED
    ? 'It is there again on held-out pairs.'
    : 'It was not found again on held-out pairs.';
  const aligned = flags & ALIGNED
    ? 'Its two directions are aligned beyond chance.'
    : 'Its two directions are not aligned beyond chance.';
  return `${replicated} ${aligned}`;
}

/** Other bridges of either end, before and after this one. */
function around(context: Context, edge: number): HTMLElement {
  const { sae } = context;
  const { src, dst } = sae.edges;
  const siblings = [...new Set([
    ...edgesOf(sae, src[edge]), ...edgesOf(sae, dst[edge]),
  ])].filter((e) => e !== edge).sort((a, b) => a - b).slice(0, 12);
  if (!siblings.length) return h('div', {});
  return h(
    'section',
    { class: 'around' },
    h('h3', {}, 'Other bridges of these two'),
    h(
      'ul',
      { class: 'found' },
      ...siblings.map((e) =>
        h(
          'li',
          {},
          button(
            `${nameOf(sae, src[e], 40)} \u2192 ${nameOf(sae, dst[e], 40)}`,
            () =>
              context.go({ b: [sae.ids[src[e]], sae.ids[dst[e]]] }, 'push'),
            { class: 'concept-link' },
          ),
          h('span', { class: 'quiet numbers' },
            `excess ${digits(edgeValue(sae, 'excess', e))}`),
        ),
      ),
    ),
  );
}

function page(context: Context, edge: number): HTMLElement[] {
  const { sae } = context;
  const { src, dst } = sae.edges;
  const definitions = sae.meta.edge_columns.flatMap((c) => [
    h('dt', {}, c.label), h('dd', {}, c.definition),
  ]);
  return [
    h(
      'header',
      { class: 'ends' },
      end(context, src[edge], 'from'),
      h('span', { class: 'arrow', 'aria-hidden': 'true' }),
      end(context, dst[edge], 'to'),
    ),
    numbersOf(sae, edge),
    h('p', {}, verdict(sae, edge)),
    later(sae.bridge(edge), (found) => evidenceOf(context, found)),
    around(context, edge),
    h('details', {}, h('summary', {}, 'What the numbers are'),
      h('dl', {}, ...definitions)),
  ];
}

export function createBridgePage(context: Context): View {
  const { sae } = context;
  const element = h('article', { class: 'bridge-page' });
  let shown = '';
  return {
    element,
    update({ b }) {
      const key = b ? b.join('-') : '';
      if (key === shown && element.childElementCount) return;
      shown = key;
      const ends = b?.map((id) => sae.indexOf.get(id) ?? -1) ?? [-1, -1];
      const edge = ends.includes(-1) ? -1 : findEdge(sae, ends[0], ends[1]);
      if (edge >= 0) {
        fill(element, ...page(context, edge));
        element.scrollTop = 0;
        const { src, dst } = sae.edges;
        context.say(
          `Bridge from ${nameOf(sae, src[edge])} to ${nameOf(sae, dst[edge])}`,
        );
        return;
      }
      fill(
        element,
        h('h2', {}, 'No such bridge'),
        h(
          'p',
          {},
          b
            ? `No bridge goes from concept ${b[0]} to concept ${b[1]} here.`
            : 'Choose one from the table of bridges or a concept\u2019s card.',
        ),
        button('All bridges', () => context.go({ view: 'bridges' }, 'push')),
      );
    },
  };
}
