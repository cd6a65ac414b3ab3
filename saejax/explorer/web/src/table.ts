// A table of any length, of which only the rows in sight exist.
import { button, fill, h } from './dom';
import type { Child } from './dom';

export interface TableColumn {
  key: string;
  title: string;
  hint?: string;
  width: string; // Of a CSS grid.
  number?: boolean;
  value?(row: number): number; // To sort by.
  text(row: number): string; // For CSV, and to sort by where there is no value.
  show?(row: number): Child; // Instead of the text.
}

export interface TableOptions {
  label: string;
  columns: TableColumn[];
  sort: string; // key, or -key for the largest first
  resort(sort: string): void;
  open(row: number): void;
}

export interface Table {
  element: HTMLElement;
  set(rows: Uint32Array, sort: string, selected: number): void;
  rows(): Uint32Array; // As sorted.
  columns: TableColumn[];
}

const HEIGHT = 40; // Pixels; as in table.css. 44 for fingers.
const SPARE = 6; // Rows beyond those in sight.

export function sortRows(
  rows: Uint32Array,
  columns: TableColumn[],
  sort: string,
): Uint32Array {
  const down = sort.startsWith('-');
  const column = columns.find((c) => c.key === sort.replace(/^-/, ''));
  if (!column) return rows;
  const sign = down ? -1 : 1;
  const order = Array.from(rows);
  if (column.value) {
    const key = new Map(order.map((row) => [row, column.value!(row)]));
    // What is not known comes last, whichever way.
    order.sort((a, b) => {
      const [x, y] = [key.get(a)!, key.get(b)!];
      if (Number.isNaN(x) || Number.isNaN(y)) {
        return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
      }
      return sign * (x - y) || a - b;
    });
  } else {
    const key = new Map(order.map((row) => [row, column.text(row)]));
    const compare = new Intl.Collator('en').compare;
    order.sort((a, b) => {
      const [x, y] = [key.get(a)!, key.get(b)!];
      if (!x || !y) return Number(!x) - Number(!y) || a - b;
      return sign * compare(x, y) || a - b;
    });
  }
  return Uint32Array.from(order);
}

export function createTable(options: TableOptions): Table {
  const { columns } = options;
  const coarse = matchMedia('(pointer: coarse)').matches;
  const height = coarse ? 44 : HEIGHT;
  const grid = columns.map((c) => c.width).join(' ');
  const head = h('div', { class: 'row head', role: 'row', 'aria-rowindex': 1 });
  const body = h('div', { class: 'rows', role: 'rowgroup' });
  const inner = h(
    'div',
    {
      class: 'inner', role: 'grid', 'aria-label': options.label,
      'aria-colcount': columns.length,
      css: { '--grid': grid, '--row': `${height}px` },
    },
    h('div', { role: 'rowgroup', class: 'heads' }, head),
    body,
  );
  const element = h(
    'div',
    { class: 'table', on: { scroll: draw, keydown } },
    inner,
  );
  let rows: Uint32Array = new Uint32Array(0);
  let shown = { rows, sort: '\0' };
  let selected = -1;
  let active = 0; // Place of the row that has the tab stop.

  function header(column: TableColumn, sort: string) {
    const up = sort === column.key;
    const down = sort === `-${column.key}`;
    const toggle = () => {
      const next = down || (!up && !column.number)
        ? column.key : `-${column.key}`;
      options.resort(next);
    };
    return h(
      'div',
      {
        role: 'columnheader', class: column.number ? 'number' : false,
        'aria-sort': up ? 'ascending' : down ? 'descending' : 'none',
        title: column.hint ?? false,
      },
      button(
        `${column.title}${up ? ' \u2191' : down ? ' \u2193' : ''}`, toggle,
        { tabindex: 0 },
      ),
    );
  }

  function line(place: number) {
    const row = rows[place];
    return h(
      'div',
      {
        class: 'row', role: 'row', 'aria-rowindex': place + 2,
        'aria-selected': String(row === selected),
        tabindex: place === active ? 0 : -1,
        css: { top: `${place * height}px` },
        'data-place': place,
        on: { click: () => options.open(row) },
      },
      ...columns.map((column) =>
        h(
          'div',
          { role: 'gridcell', class: column.number ? 'number' : false },
          column.show ? column.show(row) : column.text(row),
        ),
      ),
    );
  }

  function draw() {
    const top = Math.floor(element.scrollTop / height) - SPARE;
    const most = Math.ceil(element.clientHeight / height) + 2 * SPARE;
    const from = Math.max(0, top);
    const to = Math.min(rows.length, from + most);
    const focused = body.contains(document.activeElement);
    const lines: HTMLElement[] = [];
    for (let place = from; place < to; place++) lines.push(line(place));
    body.style.height = `${rows.length * height}px`;
    fill(body, ...lines);
    if (focused) focus(active);
  }

  function focus(place: number) {
    const target = body.querySelector<HTMLElement>(`[data-place="${place}"]`);
    target?.focus({ preventScroll: true });
  }

  function keydown(event: KeyboardEvent) {
    if (!body.contains(event.target as Node)) return;
    const page = Math.max(1, Math.floor(element.clientHeight / height) - 2);
    const steps: Record<string, number> = {
      ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page,
      Home: -rows.length, End: rows.length,
    };
    if (event.key === 'Enter' && rows.length) options.open(rows[active]);
    else if (event.key in steps) {
      const next = active + steps[event.key];
      active = Math.max(0, Math.min(rows.length - 1, next));
      reach(active);
      draw();
      focus(active);
    } else return;
    event.preventDefault();
  }

  function reach(place: number) {
    const top = place * height;
    const room = element.clientHeight - 2 * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top > element.scrollTop + room) element.scrollTop = top - room;
  }

  new ResizeObserver(draw).observe(element);
  return {
    element,
    columns,
    rows: () => rows,
    set(unsorted, sort, chosen) {
      const changed = shown.rows !== unsorted || shown.sort !== sort;
      selected = chosen;
      if (changed) {
        shown = { rows: unsorted, sort };
        rows = sortRows(unsorted, columns, sort);
        active = Math.max(0, rows.indexOf(chosen));
        fill(head, ...columns.map((column) => header(column, sort)));
        inner.setAttribute('aria-rowcount', String(rows.length + 1));
        if (element.scrollTop) element.scrollTop = 0;
        if (chosen >= 0) reach(active);
      }
      draw();
    },
  };
}
