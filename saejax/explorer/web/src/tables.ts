// The tables: concepts, bridges, and concepts without a partner.
import { segments } from './bars';
import type { Context, View } from './context';
import { button, h } from './dom';
import { csvOf, download } from './exports';
import { shape } from './marks';
import { digits, plural } from './numbers';
import {
  ALIGNED, CROSS, edgesOf, edgeValue, kindOf, nameOf, REPLICATED, SELF, valueOf,
} from './sae';
import type { Sae } from './sae';
import type { State } from './state';
import { createTable } from './table';
import type { Table, TableColumn } from './table';

const SHOWN = [
  'energy', 'rate', 'modality', 'bridge', 'stability', 'label_score',
];

function named(sae: Sae, index: number): HTMLElement {
  return h(
    'span',
    { class: 'named', dir: 'auto' },
    shape(kindOf(sae, index)),
    h('span', {}, nameOf(sae, index)),
  );
}

function numberColumn(
  key: string,
  title: string,
  value: (row: number) => number,
  hint?: string,
): TableColumn {
  return {
    key, title, value, width: '6.5rem', number: true,
    text: (row) => {
      const v = value(row);
      return Number.isNaN(v) ? '' : String(v);
    },
    show: (row) => digits(value(row)),
    ...(hint ? { hint } : {}),
  };
}

export function conceptColumns(sae: Sae): TableColumn[] {
  return [
    {
      key: 'label', title: 'Concept', width: 'minmax(13rem, 1fr)',
      text: (i) => sae.labels[i].trim(), show: (i) => named(sae, i),
    },
    {
      ...numberColumn('id', 'Id', (i) => sae.ids[i]),
      width: '5rem', show: (i) => sae.ids[i],
    },
    {
      key: 'class', title: 'Modality', width: '7rem',
      text: (i) => kindOf(sae, i),
    },
    ...SHOWN.map((name) => {
      const column = sae.meta.columns.find((c) => c.name === name);
      const value = (i: number) => valueOf(sae, name, i);
      const title = column?.label ?? name;
      return numberColumn(name, title, value, column?.definition);
    }),
    numberColumn('degree', 'Bridges', (i) => edgesOf(sae, i).length),
  ];
}

interface Frame {
  title: string;
  note: string;
  table: Table;
  file: string;
  extra?: HTMLElement;
}

function frame({ title, note, table, file, extra }: Frame) {
  const counted = h('span', { class: 'quiet' });
  const save = button(
    'CSV',
    () => download(file, csvOf(table.columns, table.rows()), 'text/csv'),
    { class: 'plain', title: 'Save the rows as they are sorted' },
  );
  const element = h(
    'div',
    { class: 'tableview' },
    h('header', {}, h('h2', {}, title), counted, extra ?? null, save),
    h('p', { class: 'quiet' }, note),
    table.element,
  );
  return { element, counted };
}

function tableOf(
  context: Context,
  label: string,
  columns: TableColumn[],
  open: (row: number) => void,
): Table {
  const resort = (sort: string) => context.go({ sort });
  return createTable({ label, columns, sort: '', resort, open });
}

const selectedOf = (sae: Sae, state: State) =>
  state.c === null ? -1 : (sae.indexOf.get(state.c) ?? -1);

/** The map's other face: all concepts, or those that a search finds. */
export function createConceptTable(context: Context): View {
  const { sae } = context;
  const table = tableOf(context, 'Concepts', conceptColumns(sae), (i) =>
    context.go({ c: sae.ids[i] }, 'push'),
  );
  const { element, counted } = frame({
    title: 'Concepts',
    note: 'All that is on the map; the search box narrows both.',
    table,
    file: `${sae.meta.id}-concepts.csv`,
  });
  return {
    element,
    update(state) {
      const rows = context.found() ?? sae.byEnergy;
      table.set(rows, state.sort || (context.found() ? '' : '-energy'),
        selectedOf(sae, state));
      context.setList(table.rows());
      counted.textContent = plural(rows.length, 'concept');
    },
  };
}

/** Strong concepts that no bridge joins to any other. */
export function createMissing(context: Context): View {
  const { sae } = context;
  const table = tableOf(
    context, 'Concepts without a partner', conceptColumns(sae), (i) =>
      context.go({ c: sae.ids[i] }, 'push'),
  );
  const alone = sae.byEnergy.filter((i) =>
    edgesOf(sae, i).every((e) => sae.edges.src[e] === sae.edges.dst[e]),
  );
  const sides = segments<string>(
    'Side',
    [['', 'Both'], ['image', 'Seen, no word'], ['text', 'Said, not seen']],
    (only: string) => context.go({ only }),
  );
  const { element, counted } = frame({
    title: 'Missing bridges',
    note:
      'Concepts that no bridge joins to another, the most energetic first: ' +
      'what the model sees and has no word for, and the reverse.',
    table,
    file: `${sae.meta.id}-missing.csv`,
    extra: sides.element,
  });
  let shown = { key: '', rows: alone };
  return {
    element,
    update(state) {
      const only = ['image', 'text'].includes(state.only) ? state.only : '';
      const key = `${only} ${state.q}`;
      if (shown.key !== key) {
        const found = context.found() && new Set(context.found());
        const rows = alone.filter(
          (i) =>
            (!only || kindOf(sae, i) === only) && (!found || found.has(i)),
        );
        shown = { key, rows };
      }
      sides.set(only);
      table.set(shown.rows, state.sort || '-energy', selectedOf(sae, state));
      context.setList(table.rows());
      counted.textContent = plural(shown.rows.length, 'concept');
    },
  };
}

const FLAGS: [name: string, bit: number][] = [
  ['replicated', REPLICATED], ['cross', CROSS], ['aligned', ALIGNED],
];

/** What the flags of a bridge say, and whether its ends have others. */
function marksOf(sae: Sae, edge: number): string {
  const { src, dst, flags } = sae.edges;
  const words = FLAGS.filter(([, bit]) => flags[edge] & bit).map(([w]) => w);
  if (flags[edge] & SELF) words.push('self');
  const from = edgesOf(sae, src[edge]).length;
  const to = edgesOf(sae, dst[edge]).length;
  if (from > 1 || to > 1) words.push(`${from} to ${to}`);
  return words.join(', ');
}

function bridgeColumns(sae: Sae): TableColumn[] {
  const { src, dst } = sae.edges;
  const end = (key: string, title: string, of: Uint32Array): TableColumn => ({
    key, title, width: 'minmax(11rem, 1fr)',
    text: (e) => nameOf(sae, of[e], 500),
    show: (e) => named(sae, of[e]),
  });
  const ids: TableColumn[] = [
    { ...numberColumn('rank', 'Rank', (e) => e + 1), width: '4.5rem',
      show: (e) => e + 1 },
    end('src', 'Image side', src),
    end('dst', 'Text side', dst),
  ];
  return [
    ...ids,
    ...sae.meta.edge_columns.map((column) =>
      numberColumn(
        column.name, column.label,
        (e) => edgeValue(sae, column.name, e), column.definition,
      ),
    ),
    {
      key: 'marks', title: 'Marks', width: '14rem',
      hint:
        'replicated: again on held-out pairs; cross: image concept to text ' +
        'concept; aligned: beyond chance; 2 to 3: bridges of each end',
      text: (e) => marksOf(sae, e),
    },
  ];
}

export function createBridgeTable(context: Context): View {
  const { sae } = context;
  const { src, dst, flags } = sae.edges;
  const table = tableOf(context, 'Bridges', bridgeColumns(sae), (e) =>
    context.go({ view: 'bridge', b: [sae.ids[src[e]], sae.ids[dst[e]]] },
      'push'),
  );
  const boxes = FLAGS.map(([name]) => {
    const box = h('input', { type: 'checkbox', on: { change: choose } });
    return { name, box, element: h('label', {}, box, name) };
  });
  function choose() {
    const on = boxes.filter(({ box }) => box.checked).map(({ name }) => name);
    context.go({ only: on.join(',') });
  }
  const { element, counted } = frame({
    title: 'Bridges',
    note:
      'Image concept to text concept, by how far they fire together on pairs ' +
      'beyond chance. A search keeps those with an end that it finds.',
    table,
    file: `${sae.meta.id}-bridges.csv`,
    extra: h(
      'div', { class: 'boxes', role: 'group', 'aria-label': 'Only' },
      ...boxes.map((b) => b.element),
    ),
  });
  let shown = { key: '\0', rows: new Uint32Array(0) };
  return {
    element,
    update(state) {
      const only = state.only.split(',');
      const key = `${state.only} ${state.q}`;
      if (shown.key !== key) {
        const mask = FLAGS.reduce(
          (all, [name, bit]) => all | (only.includes(name) ? bit : 0), 0);
        const found = context.found() && new Set(context.found());
        const rows = Uint32Array.from({ length: sae.m }, (_, e) => e).filter(
          (e) =>
            (flags[e] & mask) === mask &&
            (!found || found.has(src[e]) || found.has(dst[e])),
        );
        shown = { key, rows };
      }
      for (const { name, box } of boxes) box.checked = only.includes(name);
      table.set(shown.rows, state.sort || 'rank', -1);
      counted.textContent = plural(shown.rows.length, 'bridge');
    },
  };
}
