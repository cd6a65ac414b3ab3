// What a search or a lasso finds, as a list that ends somewhere.
import type { Context } from './context';
import { button, fill, h } from './dom';
import { conceptLink } from './marks';
import { plural } from './numbers';

const STEP = 100; // Concepts shown at a time.

export function conceptList(context: Context, found: Uint32Array) {
  const list = h('ul', { class: 'found' });
  const more = button('Show more', () => show(list.childElementCount + STEP), {
    class: 'plain',
  });
  function show(most: number) {
    fill(
      list,
      ...Array.from(found.subarray(0, most), (i) =>
        h('li', {}, conceptLink(context, i)),
      ),
    );
    more.hidden = most >= found.length;
  }
  show(STEP);
  return h('div', {}, list, more);
}

export function resultsPanel(
  context: Context,
  title: string,
  found: Uint32Array,
  clear: () => void,
): HTMLElement {
  return h(
    'div',
    { class: 'results' },
    h(
      'header',
      {},
      h('h2', {}, title),
      button('Clear', clear, { class: 'plain' }),
    ),
    h('p', { class: 'quiet' }, plural(found.length, 'concept')),
    found.length
      ? conceptList(context, found)
      : h(
          'p',
          {},
          'Nothing fits. Try a part of a word, an id, or operators such as ' +
            'mod:image energy:>0.01 bridge:>0.3 stability:<0.5.',
        ),
  );
}
