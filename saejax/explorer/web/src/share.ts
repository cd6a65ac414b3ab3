// Link, citation, code and pictures to take away.
import { linkOf } from './address';
import type { Context } from './context';
import { button, h } from './dom';
import { csvOf, download, mapPng, mapSvg } from './exports';
import type { MapHandle } from './map';
import { openDialogue } from './picture';
import { conceptColumns } from './tables';
import { readPalette } from './theme';

function copyable(context: Context, title: string, text: string) {
  const copy = button('Copy', async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
      context.say(`${title} copied`);
    } catch {
      getSelection()?.selectAllChildren(shown);
      copy.textContent = 'Press Ctrl+C';
    }
  }, { 'aria-label': `Copy: ${title}` });
  const shown = h('pre', { tabindex: 0 }, text);
  return h('section', { class: 'copyable' }, h('h3', {}, title), copy, shown);
}

export function openShare(context: Context, map: MapHandle | null) {
  const { sae, store, site } = context;
  const state = store.get();
  const id = state.c ?? 0;
  const code = state.c === null
    ? sae.meta.python.split('\n').filter((l) => !l.includes('{id}')).join('\n')
    : sae.meta.python.replaceAll('{id}', String(id));
  const name = `${sae.meta.id}-${state.view}`;
  const list = context.list();
  const files = h(
    'div',
    { class: 'buttons' },
    button('CSV of the list', () =>
      download(`${name}.csv`, csvOf(conceptColumns(sae), list), 'text/csv')),
    map && button('PNG of the map', async () =>
      download(`${name}.png`, await mapPng(map, readPalette()), 'image/png')),
    map && button('SVG of the map', () =>
      download(`${name}.svg`, mapSvg(map, readPalette()), 'image/svg+xml')),
  );
  openDialogue(
    'Take it along',
    copyable(context, 'Link to this view', linkOf(state, site.index.default)),
    files,
    copyable(
      context,
      state.c === null ? 'Python' : `Python, with concept ${id}`,
      code,
    ),
    copyable(context, 'BibTeX', sae.meta.bibtex),
  );
}

const KEYS: [string, string][] = [
  ['Arrows', 'nearest concept in that direction (on the map)'],
  ['Shift + arrows', 'move the map'],
  ['Enter', 'open the concept at the cursor'],
  ['Esc', 'close the card, the lasso, the search'],
  ['b', 'next bridge of the concept'],
  ['[ and ]', 'previous and next concept of the list'],
  ['/', 'search'],
  ['+ \u2212 0', 'zoom in, out, show everything'],
  ['?', 'this help'],
];

const OPERATORS: [string, string][] = [
  ['dog grass', 'both within the name'],
  ['"red dog"', 'these words as they are'],
  ['1234 or id:1234', 'the concept of that number'],
  ['mod:image', 'or text, shared, unclassified'],
  ['energy:>0.01', 'or any column, with > >= < <= = or 0.1..0.5'],
  ['has:label', 'or heat, picture, sensitive'],
  ['-mod:text', 'a minus turns a term round'],
];

export function openHelp(context: Context) {
  const rows = (entries: [string, string][]) =>
    h('dl', { class: 'keys' },
      ...entries.flatMap(([k, text]) => [
        h('dt', {}, h('kbd', {}, k)), h('dd', {}, text),
      ]));
  openDialogue(
    'Help',
    h('h3', {}, 'Keys'),
    rows(KEYS),
    h('h3', {}, 'Search'),
    rows(OPERATORS),
    h('p', { class: 'quiet' }, 'Columns: ' +
      context.sae.meta.columns.map((c) => c.name).join(', ')),
  );
}
