// The frame of the page: heading, views, search box, panel, keys.
import { createAbout } from './about';
import { createBridgePage } from './bridge';
import { createCompare } from './compare';
import type { Context, View } from './context';
import { explain } from './context';
import { button, fill, h } from './dom';
import { createExamples } from './examples';
import { listenKeys } from './keys';
import type { MapHandle } from './map';
import { createMapView } from './mapview';
import type { MapView } from './mapview';
import { spoken } from './marks';
import { plural } from './numbers';
import { createPanel } from './panel';
import { matches, parseQuery } from './search';
import type { Sae } from './sae';
import { openHelp, openShare } from './share';
import type { Site } from './site';
import type { State, Store, Theme, View as Name } from './state';
import { createBridgeTable, createConceptTable, createMissing } from './tables';
import { createTour } from './tour';

const TABS: [Name, string][] = [
  ['map', 'Map'],
  ['table', 'Concepts'],
  ['bridges', 'Bridges'],
  ['missing', 'Missing'],
  ['examples', 'Examples'],
  ['compare', 'Compare'],
  ['about', 'About'],
];
const MAKERS: Record<Name, (context: Context) => View> = {
  map: createMapView,
  table: createConceptTable,
  bridges: createBridgeTable,
  missing: createMissing,
  bridge: createBridgePage,
  examples: createExamples,
  compare: createCompare,
  about: createAbout,
};
const NEXT_THEME: Record<Theme, Theme> = {
  auto: 'dark', dark: 'light', light: 'auto',
};
const THEMES: Record<Theme, string> = {
  auto: '\u25d0 Auto', dark: '\u25cf Dark', light: '\u25cb Light',
};

export interface Shell {
  element: HTMLElement;
  start(): void;
  map(): MapHandle | null;
  state(): State;
  time(query: string): { found: number; ms: number };
  repaint(): void;
  dispose(): void;
}

export function createShell(site: Site, store: Store, sae: Sae): Shell {
  const status = h('p', { class: 'unseen', role: 'status' });
  const trouble = h('div', { class: 'toast' });
  let search = { q: '', found: null as Uint32Array | null, said: '' };
  let list = sae.byEnergy;

  function ask(q: string) {
    const names = sae.meta.columns.map((column) => column.name);
    const query = parseQuery(q, names, sae.meta.classes);
    const found = query.terms.length
      ? matches(query, sae, sae.byEnergy) : null;
    return { q, found, said: query.problems.join('; ') };
  }

  const context: Context = {
    site, store, sae,
    go: (change, how) => store.set(change, how),
    say: (text) => (status.textContent = text),
    fail: (error) => fill(trouble, explain(error),
      button('Dismiss', () => fill(trouble), { class: 'plain' })),
    found() {
      const { q } = store.get();
      if (q !== search.q) search = ask(q);
      return search.found;
    },
    list: () => (search.found && list === sae.byEnergy ? search.found : list),
    setList: (next) => (list = next),
  };

  const views = new Map<Name, View>();
  const stage = h('main', { class: 'stage', id: 'stage', tabindex: -1 });
  const panel = createPanel(context);
  const tour = createTour(context);
  const box = h('input', {
    type: 'search', placeholder: 'Search concepts', 'aria-label':
      'Search names, ids, or mod:image energy:>0.01 bridge:>0.3',
    autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'searched',
    on: {
      input: () => {
        store.set({ q: box.value, c: null, lasso: [] });
        const found = context.found();
        if (found) context.say(`${plural(found.length, 'concept')} found`);
      },
      keydown: (event: KeyboardEvent) => {
        const first = context.found()?.[0];
        if (event.key !== 'Enter' || first === undefined) return;
        store.set({ c: sae.ids[first] }, 'push');
      },
    },
  });
  const said = h('p', { class: 'searched', id: 'searched' });
  const tabs = TABS.filter(([name]) => offered(name)).map(([name, title]) =>
    h('button', {
      type: 'button', 'data-view': name,
      on: { click: () => store.set({ view: name, sort: '', only: '' }, 'push') },
    }, title),
  );
  const theme = button('', () => {
    store.set({ theme: NEXT_THEME[store.get().theme] });
  }, { class: 'plain theme' });
  const element = h(
    'div',
    { class: 'shell' },
    h('a', { class: 'skip', href: '#stage', on: { click: skip } },
      'Skip to the view'),
    h(
      'header',
      { class: 'masthead' },
      h('h1', {}, site.index.title),
      saePicker(),
      h('nav', { 'aria-label': 'Views' }, ...tabs),
      h('div', { class: 'search', role: 'search' }, box, said),
      h(
        'div',
        { class: 'tools' },
        button('Share', () => openShare(context, mapHandle()),
          { class: 'plain' }),
        theme,
        button('?', () => openHelp(context), {
          class: 'plain', 'aria-label': 'Help',
        }),
      ),
    ),
    h('div', { class: 'body' }, stage, panel.element, tour.element),
    trouble,
    status,
  );

  function skip(event: Event) {
    event.preventDefault();
    stage.focus();
  }

  function offered(name: Name): boolean {
    return name !== 'compare'
      || site.index.matches.some((m) => m.a === sae.meta.id);
  }

  function saePicker(): HTMLElement | null {
    if (site.index.saes.length < 2) return null;
    const select = h('select', {
      'aria-label': 'Dictionary',
      on: { change: () => store.set({ sae: select.value, c: null, b: null,
        lasso: [], x: 0.5, y: 0.5, z: 1, cmp: '', sort: '' }, 'push') },
    }, ...site.index.saes.map((s) => h('option', { value: s.id }, s.title)));
    select.value = sae.meta.id;
    return select;
  }

  const mapView = () => views.get('map') as MapView | undefined;
  const mapHandle = () =>
    store.get().view === 'map' ? (mapView()?.map ?? null) : null;

  function viewOf(name: Name): View {
    let view = views.get(name);
    if (!view) {
      view = MAKERS[name](context);
      views.set(name, view);
    }
    return view;
  }

  function update(state: State, before: State) {
    if (state.sae !== before.sae) return;
    const view = viewOf(state.view);
    const arrived = stage.firstElementChild !== view.element;
    if (arrived) {
      fill(stage, view.element);
      list = sae.byEnergy;
    }
    for (const tab of tabs) {
      const shown = state.view === 'bridge' ? 'bridges' : state.view;
      const current = tab.dataset.view === shown;
      tab.setAttribute('aria-current', current ? 'page' : 'false');
    }
    view.update?.(state, arrived ? state : before);
    if (document.activeElement !== box) box.value = state.q;
    context.found();
    said.textContent = search.said;
    panel.update(state, before, mapView()?.picked() ?? new Uint32Array(0));
    tour.update(state);
    document.body.dataset.view = state.view;
    theme.textContent = THEMES[state.theme];
    theme.setAttribute('aria-label', `Theme: ${state.theme}`);
    const chosen = state.c === null ? undefined : sae.indexOf.get(state.c);
    if (state.c !== before.c && chosen !== undefined) {
      context.say(spoken(sae, chosen));
    }
  }

  const stop = [
    store.subscribe(update),
    listenKeys(context, {
      search: () => box.focus(),
      help: () => openHelp(context),
      zoom: (factor) => mapView()?.zoomBy(factor),
      whole: () => mapView()?.whole(),
    }),
  ];

  return {
    element,
    start: () => update(store.get(), store.get()),
    map: () => mapView()?.map ?? null,
    state: store.get,
    time(query) {
      const began = performance.now();
      const { found } = ask(query);
      return { found: found?.length ?? 0, ms: performance.now() - began };
    },
    repaint() {
      const state = store.get();
      // As after another theme, so that the map takes its colours anew.
      update(state, { ...state, theme: NEXT_THEME[state.theme] });
    },
    dispose() {
      stop.forEach((end) => end());
      for (const view of views.values()) view.dispose?.();
    },
  };
}
