// Two dictionaries side by side: their maps, and concepts that match.
import { conceptCard } from './card';
import type { Context, View } from './context';
import { explain } from './context';
import type { Match } from './decoding';
import { fill, h } from './dom';
import { listen } from './gestures';
import { nearest } from './grid';
import { panBy, toMap, zoomAt } from './camera';
import { NONE } from './format';
import { makeLook } from './looks';
import { createMap, mapScales } from './map';
import type { MapHandle } from './map';
import { digits } from './numbers';
import { nameOf } from './sae';
import type { Sae } from './sae';
import { MAX_ZOOM } from './state';
import type { State } from './state';
import { createTable } from './table';
import { conceptColumns } from './tables';
import { readPalette } from './theme';

function smallMap(
  context: Context,
  sae: Sae,
  hover: (i: number) => void,
  choose: (i: number) => void,
): { map: MapHandle; stop: () => void } {
  const look = makeLook(sae, { size: 'energy', fade: false, found: null });
  const map = createMap(
    sae,
    {
      layout: context.store.get().layout, place: { x: 0.5, y: 0.5, z: 1 },
      edges: 0, list: null, top: new Uint32Array(0), look, pictures: true,
      selected: -1, cursor: -1, lasso: [],
    },
    readPalette(),
    context.fail,
  );
  const pick = (x: number, y: number, reach: number) =>
    nearest(map.grid(), toMap(map.camera(), x, y), mapScales(map), reach,
      () => true);
  const stop = listen(map.element, {
    pan: (dx, dy) => map.show({ place: panBy(map.camera(), dx, dy) }),
    zoom: (factor, x, y) =>
      map.show({ place: zoomAt(map.camera(), factor, x, y, MAX_ZOOM) }),
    hover: (x, y) => hover(pick(x, y, 14)),
    leave: () => hover(-1),
    tap(x, y) {
      const i = pick(x, y, 24);
      if (i >= 0) choose(i);
    },
    lassoing: () => false,
    lasso: () => {},
  });
  return { map, stop };
}

/** For each concept of the other dictionary, the first that matches it here. */
function reverse(match: Match, n: number): Int32Array {
  const back = new Int32Array(n).fill(-1);
  match.index.forEach((j, i) => {
    if (j === NONE) return;
    const held = back[j];
    if (held < 0 || match.correlation[held] < match.correlation[i]) back[j] = i;
  });
  return back;
}

interface Pairing {
  other: Sae;
  match: Match;
  method: string;
}

function sideBySide(context: Context, { other, match, method }: Pairing): View {
  const { sae } = context;
  const back = reverse(match, other.n);
  const to = (i: number) =>
    i >= 0 && match.index[i] !== NONE ? match.index[i] : -1;
  const otherContext: Context = { ...context, sae: other, go(change, how) {
    const i = change.c === undefined || change.c === null
      ? -1 : (other.indexOf.get(change.c) ?? -1);
    if (i >= 0 && back[i] >= 0) context.go({ c: sae.ids[back[i]] }, how);
    else if (i >= 0) context.say('No concept here matches it');
  } };
  const left = smallMap(context, sae, hoverLeft, (i) =>
    context.go({ c: sae.ids[i] }, 'push'));
  const right = smallMap(context, other, hoverRight, (j) =>
    otherContext.go({ c: other.ids[j] }, 'push'));
  function hoverLeft(i: number) {
    left.map.show({ cursor: i });
    right.map.show({ cursor: to(i) });
  }
  function hoverRight(j: number) {
    right.map.show({ cursor: j });
    left.map.show({ cursor: j < 0 ? -1 : back[j] });
  }
  const rows = sae.byEnergy.filter((i) => to(i) >= 0);
  const [label, id] = conceptColumns(sae);
  const table = createTable({
    label: 'Concepts that match',
    sort: '-correlation',
    resort: (sort) => context.go({ sort }),
    open: (i) => context.go({ c: sae.ids[i] }, 'push'),
    columns: [
      { ...label, title: sae.meta.title }, id,
      {
        key: 'match', title: other.meta.title, width: 'minmax(13rem, 1fr)',
        text: (i) => nameOf(other, to(i), 300),
        show: (i) => nameOf(other, to(i)),
      },
      {
        key: 'correlation', title: 'Correlation', width: '7rem', number: true,
        value: (i) => match.correlation[i],
        text: (i) => String(match.correlation[i]),
        show: (i) => digits(match.correlation[i]),
      },
    ],
  });
  const partner = h('div', { class: 'partner' });
  let shown = -2;
  const element = h(
    'div',
    { class: 'compare' },
    h('p', { class: 'quiet' },
      `${rows.length} of ${sae.n} concepts have a match, by ${method}.`),
    h(
      'div',
      { class: 'pairs' },
      h('figure', {}, h('figcaption', {}, sae.meta.title), left.map.element),
      h('figure', {}, h('figcaption', {}, other.meta.title), right.map.element),
    ),
    h('div', { class: 'pairs lower' }, table.element, partner),
  );
  return {
    element,
    update(state) {
      const chosen = state.c === null ? -1 : (sae.indexOf.get(state.c) ?? -1);
      table.set(rows, state.sort || '-correlation', chosen);
      left.map.show({ selected: chosen, layout: state.layout });
      right.map.show({ selected: to(chosen), layout: state.layout });
      for (const { map } of [left, right]) map.repaint(readPalette());
      if (chosen === shown) return;
      shown = chosen;
      const j = to(chosen);
      fill(
        partner,
        j >= 0 ? conceptCard(otherContext, j)
          : h('p', { class: 'quiet' }, chosen < 0
            ? 'Choose a concept; its match is shown here, beside its own card.'
            : 'Nothing in the other dictionary matches this concept.'),
      );
    },
    dispose() {
      for (const { map, stop } of [left, right]) {
        stop();
        map.dispose();
      }
    },
  };
}

export function createCompare(context: Context): View {
  const { sae, site } = context;
  const others = site.index.matches.filter((m) => m.a === sae.meta.id);
  const titleOf = (id: string) =>
    site.index.saes.find((s) => s.id === id)?.title ?? id;
  const choice = h(
    'select',
    {
      'aria-label': 'Compare with',
      on: { change: () => context.go({ cmp: choice.value }, 'push') },
    },
    ...others.map((m) => h('option', { value: m.b }, titleOf(m.b))),
  );
  const body = h('div', { class: 'compare-body' });
  const element = h(
    'div',
    { class: 'compare-page' },
    h('header', {}, h('h2', {}, 'Compare'),
      others.length ? h('label', {}, 'with ', choice) : null),
    body,
  );
  let inner: View | null = null;
  let asked = '';

  async function open(id: string, state: State) {
    const entry = others.find((m) => m.b === id)!;
    try {
      const [other, match] = await Promise.all([
        site.sae(id, () => {}), site.match(entry, sae.n),
      ]);
      if (asked !== id) return;
      inner = sideBySide(context, { other, match, method: entry.method });
      fill(body, inner.element);
      inner.update?.(context.store.get(), state);
    } catch (error) {
      fill(body, explain(error));
    }
  }

  return {
    element,
    update(state, before) {
      const id = others.find((m) => m.b === state.cmp)?.b ?? others[0]?.b ?? '';
      choice.value = id;
      if (!id) {
        fill(body, h('p', {}, 'This site has no matched concepts of this ' +
          'dictionary and another.'));
      } else if (id !== asked) {
        asked = id;
        inner?.dispose?.();
        inner = null;
        fill(body, h('div', { class: 'skeleton' }));
        void open(id, state);
      } else inner?.update?.(state, before);
    },
    dispose() {
      asked = '';
      inner?.dispose?.();
    },
  };
}
