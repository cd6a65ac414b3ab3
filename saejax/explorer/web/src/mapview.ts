// The view of the map: selection, search, lasso and keys, on the map itself.
import { panBy, toMap, zoomAt, fit } from './camera';
import type { Place } from './camera';
import type { Context, View } from './context';
import { createControls, legend } from './controls';
import { button, fill, h, phone } from './dom';
import { listen, thin } from './gestures';
import { lassoed, nearest, nearestTowards } from './grid';
import { makeLook } from './looks';
import { createMap, mapScales } from './map';
import type { MapHandle } from './map';
import { shape, spoken } from './marks';
import { digits } from './numbers';
import { edgesOf, edgeValue, kindOf, nameOf, otherEnd } from './sae';
import type { Sae } from './sae';
import { MAX_ZOOM } from './state';
import type { State } from './state';
import { readPalette } from './theme';

const REACH = 14; // Pixels from a point that still pick it,
const TOUCH_REACH = 24; // and for a finger.
const MOST_TOP = 400; // Bridges of a concept or a lasso that are drawn.
const MOST_FOUND = 20000;
const CORNERS = 24; // Of a lasso, which the link holds.

const DIRECTIONS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
};

export interface MapView extends View {
  map: MapHandle;
  picked(): Uint32Array; // Inside the lasso.
  zoomBy(factor: number): void;
  whole(): void;
}

/** The strongest bridges with an end among some concepts, or with both. */
function bridgesOf(
  sae: Sae,
  concepts: Uint32Array,
  both: boolean,
  most: number,
): Uint32Array {
  const inside = new Uint8Array(sae.n);
  concepts.forEach((i) => (inside[i] = 1));
  const { src, dst } = sae.edges;
  const found: number[] = [];
  for (let e = 0; e < sae.m && found.length < most; e++) {
    const ends = inside[src[e]] + inside[dst[e]];
    if (ends > (both ? 1 : 0)) found.push(e);
  }
  return Uint32Array.from(found);
}

export function createMapView(context: Context): MapView {
  const { sae, store } = context;
  const first = store.get();
  const selectedOf = (state: State) =>
    state.c === null ? -1 : (sae.indexOf.get(state.c) ?? -1);
  const map = createMap(
    sae,
    {
      layout: first.layout, place: first, edges: first.edges, list: null,
      top: new Uint32Array(0), look: lookOf(first), pictures: first.pics,
      selected: selectedOf(first), cursor: -1, lasso: first.lasso,
    },
    readPalette(),
    context.fail,
  );
  const tip = h('div', { class: 'tip', hidden: true });
  const hint = h('p', { class: 'axis', hidden: true },
    h('span', {}, '\u25c2 images'), h('span', {}, 'modality score'),
    h('span', {}, 'texts \u25b8'));
  let drawing = false;
  let bridgeAt = -1;
  let lassoFound = new Uint32Array(0);
  const controls = createControls(context, () => {
    drawing = !drawing;
    controls.lassoing(drawing);
    surface.classList.toggle('drawing', drawing);
    if (drawing) context.say('Draw around concepts');
  });
  const surface = h(
    'div',
    {
      class: 'surface',
      role: 'application',
      tabindex: 0,
      'aria-label':
        'Map of concepts. Arrow keys go to the nearest concept, Enter opens ' +
        'it, Escape closes it, b follows its bridges, plus and minus zoom. ' +
        'The same concepts are in the table view.',
      on: { keydown },
    },
    map.element,
    tip,
  );
  const zooms = h(
    'div',
    { class: 'zooms', role: 'group', 'aria-label': 'Zoom' },
    button('+', () => zoomBy(1.6), { 'aria-label': 'Zoom in' }),
    button('\u2212', () => zoomBy(1 / 1.6), { 'aria-label': 'Zoom out' }),
    button('\u2922', whole, { 'aria-label': 'Show everything' }),
  );
  const element = h(
    'div',
    { class: 'mapview' },
    controls.element,
    h('div', { class: 'field' }, surface, legend(), hint, zooms),
  );

  function lookOf(state: State) {
    const { size, fade } = state;
    return makeLook(sae, { size, fade, found: context.found() });
  }

  function move(place: Place) {
    const { x, y, z } = place;
    context.go({ x, y, z });
  }

  const middle = () => {
    const { width, height } = map.camera();
    return [width / 2, height / 2] as const;
  };

  function zoomBy(factor: number) {
    move(zoomAt(map.camera(), factor, ...middle(), MAX_ZOOM));
  }

  function whole() {
    move({ x: 0.5, y: 0.5, z: 1 });
  }

  const bright = (i: number) => map.shown().look.bytes[4 * i + 1] > 40;

  function pick(x: number, y: number, reach: number): number {
    const at = toMap(map.camera(), x, y);
    return nearest(map.grid(), at, mapScales(map), reach, bright);
  }

  function setCursor(i: number) {
    map.show({ cursor: i, top: topOf(store.get(), i) });
  }

  /** Bridges over the others: of the cursor or else the selected, or inside. */
  function topOf(state: State, cursor: number): Uint32Array {
    const selected = selectedOf(state);
    const one = cursor >= 0 ? cursor : selected;
    if (one >= 0) {
      const own = edgesOf(sae, one).slice(0, MOST_TOP);
      if (cursor < 0 || selected < 0 || cursor === selected) return own;
      const also = edgesOf(sae, selected).slice(0, MOST_TOP);
      return Uint32Array.from(new Set([...also, ...own]));
    }
    return lassoFound.length
      ? bridgesOf(sae, lassoFound, true, MOST_TOP) : new Uint32Array(0);
  }

  function showTip(i: number, x: number, y: number) {
    tip.hidden = i < 0;
    if (i < 0) return;
    const kind = kindOf(sae, i);
    const bridges = edgesOf(sae, i).length;
    fill(
      tip,
      h('strong', { dir: 'auto' }, nameOf(sae, i, 60)),
      h(
        'span',
        {},
        shape(kind),
        `${kind} \u00b7 ${sae.ids[i]} \u00b7 energy ` +
          `${digits(sae.columns.get('energy')?.[i])} \u00b7 ` +
          `${bridges} ${bridges === 1 ? 'bridge' : 'bridges'}`,
      ),
    );
    const { width } = map.camera();
    tip.style.transform =
      `translate(${Math.max(4, Math.min(x + 14, width - 240))}px, ${y + 16}px)`;
  }

  const unlisten = listen(surface, {
    pan: (dx, dy) => move(panBy(map.camera(), dx, dy)),
    zoom: (factor, x, y) => move(zoomAt(map.camera(), factor, x, y, MAX_ZOOM)),
    hover(x, y) {
      const i = pick(x, y, REACH);
      surface.classList.toggle('over', i >= 0);
      if (i !== map.shown().cursor) setCursor(i);
      showTip(i, x, y);
    },
    leave() {
      tip.hidden = true;
      setCursor(-1);
    },
    tap(x, y, touch) {
      const i = pick(x, y, touch ? TOUCH_REACH : REACH);
      if (i >= 0) context.go({ c: sae.ids[i] }, 'push');
      else if (store.get().c !== null) context.go({ c: null }, 'push');
    },
    lassoing: () => drawing,
    lasso(corners, done) {
      const few = thin(corners, done ? CORNERS : 200);
      const lasso = few.flatMap(([x, y]) => toMap(map.camera(), x, y));
      if (!done) map.show({ lasso });
      else if (lasso.length >= 6) {
        drawing = false;
        controls.lassoing(false);
        surface.classList.remove('drawing');
        context.go({ lasso, c: null }, 'push');
      }
    },
  });

  function towards([dx, dy]: [number, number]) {
    const { cursor, selected, layout } = map.shown();
    const xy = layout === 'split' ? sae.split : sae.joint;
    const from = cursor >= 0 ? cursor : selected;
    const camera = map.camera();
    const start: [number, number] =
      from >= 0 ? [xy[2 * from], xy[2 * from + 1]] : [camera.x, camera.y];
    const scale = mapScales(map);
    const i = from >= 0
      ? nearestTowards(xy, start, scale, [dx, dy], bright)
      : nearest(map.grid(), start, scale, Infinity, bright);
    if (i < 0) return;
    bridgeAt = -1;
    arrive(i, spoken(sae, i));
  }

  /** Puts the cursor on a concept, in sight, and says so. */
  function arrive(i: number, said: string) {
    const [x, y] = map.project(i);
    const { width, height } = map.camera();
    if (x < 40 || y < 40 || x > width - 40 || y > height - 40) {
      move(panBy(map.camera(), width / 2 - x, height / 2 - y));
    }
    setCursor(i);
    showTip(i, ...map.project(i));
    context.say(said);
  }

  /** The next bridge of the selected concept, or of the one at the cursor. */
  function nextBridge() {
    const { selected, cursor } = map.shown();
    const own = selected >= 0 ? selected : cursor;
    if (own < 0) return;
    const all = edgesOf(sae, own);
    if (!all.length) {
      context.say('It has no bridge');
      return;
    }
    bridgeAt = (bridgeAt + 1) % all.length;
    const edge = all[bridgeAt];
    const other = otherEnd(sae, edge, own);
    if (selected < 0) context.go({ c: sae.ids[own] }, 'push');
    arrive(
      other,
      `Bridge ${bridgeAt + 1} of ${all.length}, excess ` +
        `${digits(edgeValue(sae, 'excess', edge))}: ${spoken(sae, other)}`,
    );
  }

  function keydown(event: KeyboardEvent) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = DIRECTIONS[event.key];
    const { cursor } = map.shown();
    if (direction && event.shiftKey) {
      move(panBy(map.camera(), -80 * direction[0], 80 * direction[1]));
    } else if (direction) towards(direction);
    else if (event.key === 'Enter' && cursor >= 0) {
      context.go({ c: sae.ids[cursor] }, 'push');
    } else if (event.key === 'b') nextBridge();
    else return;
    event.preventDefault();
  }

  function update(state: State, before: State) {
    controls.update(state);
    hint.hidden = state.layout !== 'split';
    const { layout, edges, pics, lasso } = state;
    const searched = state.q !== before.q || state === before;
    if (lasso !== before.lasso || state === before) {
      lassoFound = lassoed(map.grid(), lasso) as Uint32Array<ArrayBuffer>;
    }
    const found = context.found();
    const changed = searched || state.size !== before.size
      || state.fade !== before.fade;
    if (state.c !== before.c) {
      bridgeAt = -1;
      tip.hidden = true;
    }
    const { cursor } = map.shown();
    map.show({
      layout, edges, pictures: pics, lasso, selected: selectedOf(state),
      place: { x: state.x, y: state.y, z: state.z },
      ...(changed ? { look: lookOf(state) } : {}),
      ...(searched
        ? { list: found && bridgesOf(sae, found, false, MOST_FOUND) } : {}),
      ...(state.c !== before.c || lasso !== before.lasso || state === before
        ? { top: topOf(state, cursor) } : {}),
    });
    if (state.c !== before.c && state.c !== null) seek(selectedOf(state));
    if (state.theme !== before.theme) map.repaint(readPalette());
  }

  /** Brings a concept into sight if it is out of it. */
  function seek(i: number) {
    if (i < 0) return;
    const [x, y] = map.project(i);
    const { width, height } = map.camera();
    const low = phone.matches ? height / 2 : height; // Above the sheet.
    if (!width || (x > 0 && y > 0 && x < width && y < low)) return;
    const at = map.shown().layout === 'split' ? sae.split : sae.joint;
    const [px, py] = [at[2 * i], at[2 * i + 1]];
    const place = fit(map.camera(), [px, py, px, py], store.get().z);
    const view = { ...map.camera(), ...place };
    move(panBy(view, 0, low / 2 - height / 2));
  }

  update(first, first);
  // A link that says where to look is followed.
  if (first.z === 1 && first.x === 0.5 && first.y === 0.5) {
    requestAnimationFrame(() => seek(selectedOf(store.get())));
  }
  return {
    element, map, update, zoomBy, whole,
    picked: () => lassoFound,
    dispose() {
      unlisten();
      controls.dispose();
      map.dispose();
    },
  };
}
