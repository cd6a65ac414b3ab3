// Small things that many views show: shapes of modalities, links to concepts.
import type { Context } from './context';
import { button, h, s } from './dom';
import { kindOf, nameOf } from './sae';
import type { Sae } from './sae';

/** The shape of a modality: disc, square, ring, small disc. */
export function shape(kind: string): SVGSVGElement {
  const mark = kind === 'text'
    ? s('rect', { x: 2, y: 2, width: 10, height: 10 })
    : kind === 'shared'
      ? s('circle', { cx: 7, cy: 7, r: 4, class: 'hollow' })
      : s('circle', { cx: 7, cy: 7, r: kind === 'image' ? 5.5 : 3 });
  return s(
    'svg',
    { class: `shape ${kind}`, viewBox: '0 0 14 14', 'aria-hidden': 'true' },
    mark,
  );
}

/** A button that selects a concept. */
export function conceptLink(
  context: Context,
  index: number,
  most = 60,
): HTMLElement {
  const { sae } = context;
  const kind = kindOf(sae, index);
  const link = button(
    '',
    () => context.go({ c: sae.ids[index] }, 'push'),
    { class: 'concept-link' },
  );
  link.append(
    shape(kind),
    h('span', { class: 'concept-name' }, nameOf(sae, index, most)),
    h('span', { class: 'unseen' }, `, ${kind}`),
  );
  return link;
}

/** One sentence on a concept, for those who listen. */
export function spoken(sae: Sae, index: number): string {
  const bridges = sae.start[index + 1] - sae.start[index];
  const rate = sae.columns.get('rate')?.[index] ?? NaN;
  const fires = Number.isNaN(rate) ? '' :
    `, fires on ${Number((100 * rate).toPrecision(2))} percent`;
  return (
    `Concept ${sae.ids[index]}, ${nameOf(sae, index)}, ` +
    `${kindOf(sae, index)}${fires}, ` +
    `${bridges} ${bridges === 1 ? 'bridge' : 'bridges'}`
  );
}

export function section(title: string, ...children: (Node | string | null)[]) {
  const kept = children.filter((child) => child !== null);
  return h('section', {}, h('h3', {}, title), ...kept);
}
