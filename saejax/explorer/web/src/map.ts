// The map itself: a canvas that draws when something changed, and names on it.
import { scales, toMap, toScreen } from './camera';
import type { Camera, Place } from './camera';
import { createCanvasRenderer } from './canvas2d';
import { h, s, stillness } from './dom';
import { createGlRenderer } from './gl';
import { buildGrid, within } from './grid';
import type { Box, Grid } from './grid';
import { growth } from './looks';
import { createNames } from './names';
import type { Name } from './names';
import { PICTURED } from './sae';
import type { Sae } from './sae';
import { placeOf, radius } from './scene';
import type { Look, Palette, Renderer } from './scene';
import { createSheets } from './sheets';
import type { Layout } from './state';

const MOVING_EDGES = 2000;
const REST = 160; // ms without movement.
const MORPH = 700; // ms
const PATIENCE = 1500; // ms that a lost context may take to come back.
const NAMED = 70; // So few in sight have their own names,
const PICTURES = 400; // and so few may be shown as pictures,
const ROOM = 64; // if each has so many pixels to a side.

export interface Shown {
  layout: Layout;
  place: Place;
  edges: number;
  list: Uint32Array | null; // Bridges drawn instead of the strongest.
  top: Uint32Array;
  look: Look;
  pictures: boolean;
  selected: number; // -1 for none.
  cursor: number;
  lasso: number[];
}

export interface Stats {
  points: number;
  edges: number; // Drawn last.
  frames: number;
  submit: number; // Median ms of the main thread for a frame.
  renderer: string;
}

export interface MapHandle {
  element: HTMLElement;
  scene: Sae;
  show(change: Partial<Shown>): void;
  shown(): Shown;
  camera(): Camera;
  grid(): Grid;
  project(i: number): [number, number];
  names(): Name[];
  stats(): Stats;
  redraw(): void;
  picture(): HTMLCanvasElement; // Drawn this moment.
  repaint(palette: Palette): void;
  dispose(): void;
}

/** WebGL2, or a plain canvas; a canvas that had one cannot have the other. */
function createRenderer(): Renderer {
  const canvas = () => h('canvas', { 'aria-hidden': 'true' });
  try {
    return createGlRenderer(canvas());
  } catch {
    return createCanvasRenderer(canvas());
  }
}

export function createMap(
  sae: Sae,
  first: Shown,
  colours: Palette,
  fail: (error: unknown) => void,
): MapHandle {
  const shown = { ...first };
  let palette = colours;
  let renderer = createRenderer();
  const names = createNames(sae);
  const ring = h('div', { class: 'ring', hidden: true });
  const cursorRing = h('div', { class: 'ring cursor', hidden: true });
  const outline = s('polygon', {});
  const element = h(
    'div',
    { class: 'map' },
    renderer.canvas,
    s('svg', { class: 'lasso', 'aria-hidden': 'true' }, outline),
    names.element,
    ring,
    cursorRing,
  );
  const grids = new Map<Layout, Grid>();
  const times: number[] = [];
  let morph = shown.layout === 'split' ? 1 : 0;
  let morphing = 0; // When it began.
  let morphFrom = morph;
  let moved = 0;
  let frames = 0;
  let drawn = 0;
  let asked = 0;
  let resting = 0;
  let waiting = 0;
  let size: [number, number] = [0, 0];
  let placed: Name[] = [];
  const sheets = createSheets(
    sae,
    (number, image) => {
      renderer.setSheet(number, image);
      redraw();
    },
    fail,
  );

  function prepare() {
    const { joint, split, n, edges } = sae;
    const { src, dst } = edges;
    renderer.setScene({ n, joint, split, src, dst, sheets: 0 });
    renderer.setLook(shown.look);
    renderer.canvas.addEventListener('webglcontextlost', lost);
    renderer.canvas.addEventListener('webglcontextrestored', restored);
  }

  /** A context that does not come back is done without. */
  function lost(event: Event) {
    event.preventDefault();
    waiting = window.setTimeout(() => {
      const old = renderer.canvas;
      renderer = createCanvasRenderer(h('canvas', { 'aria-hidden': 'true' }));
      old.replaceWith(renderer.canvas);
      prepare();
      sheets.again();
      resize();
    }, PATIENCE);
  }

  function restored() {
    clearTimeout(waiting);
    renderer = createGlRenderer(renderer.canvas);
    prepare();
    sheets.again();
    redraw();
  }

  function redraw() {
    if (!asked) asked = requestAnimationFrame(draw);
  }

  function camera(): Camera {
    return { ...shown.place, width: size[0], height: size[1], stretch: morph };
  }

  function project(i: number) {
    return toScreen(camera(), ...placeOf(sceneOf(), i, morph));
  }

  const sceneOf = () => ({
    n: sae.n, joint: sae.joint, split: sae.split, src: sae.edges.src,
    dst: sae.edges.dst, sheets: 0,
  });

  function grid(): Grid {
    let found = grids.get(shown.layout);
    if (!found) {
      found = buildGrid(shown.layout === 'split' ? sae.split : sae.joint);
      grids.set(shown.layout, found);
    }
    return found;
  }

  /** Concepts in sight that are not faint, if there are few. */
  function inSight(view: Camera): number[] | null {
    if (morph !== (shown.layout === 'split' ? 1 : 0)) return null;
    const [x0, y1] = toMap(view, 0, 0);
    const [x1, y0] = toMap(view, view.width, view.height);
    const found: number[] = [];
    const { bytes } = shown.look;
    within(grid(), [x0, y0, x1, y1] as Box, (i) => {
      if (bytes[4 * i + 1] > 40) found.push(i);
      return found.length > PICTURES;
    });
    if (found.length > PICTURES) return null;
    const energy = sae.columns.get('energy');
    const weight = (i: number) =>
      i === shown.selected || i === shown.cursor ? 1e9 : (energy?.[i] ?? 0);
    return found.sort((a, b) => weight(b) - weight(a));
  }

  /** Pixels of pictures' sides; 0 where they would crowd. */
  function pictureSide(view: Camera, seen: number): number {
    const room = Math.sqrt((view.width * view.height) / Math.max(seen, 1));
    return room < ROOM ? 0 : Math.min(52, room * 0.5);
  }

  function advance(now: number) {
    const target = shown.layout === 'split' ? 1 : 0;
    if (morph === target) return;
    if (!morphing) morphing = now;
    const t = stillness() ? 1 : Math.min(1, (now - morphing) / MORPH);
    const eased = t * t * (3 - 2 * t);
    morph = t < 1 ? morphFrom + (target - morphFrom) * eased : target;
    if (t < 1) redraw();
    else morphing = 0;
  }

  function edgeCount(moving: boolean): number {
    const all = shown.list ? shown.list.length : sae.m;
    const wanted = Math.min(shown.edges, all, renderer.mostEdges);
    return moving ? Math.min(wanted, MOVING_EDGES) : wanted;
  }

  function draw(now: number) {
    asked = 0;
    if (!size[0] || !size[1]) return;
    const began = performance.now();
    advance(now);
    const view = camera();
    const moving = now - moved < REST || morphing > 0;
    if (moving && !resting) {
      resting = window.setTimeout(() => {
        resting = 0;
        redraw();
      }, REST + 20);
    }
    drawn = edgeCount(moving) + shown.top.length;
    const seen = inSight(view);
    const side = pictureSide(view, seen?.length ?? 0);
    const pictured = shown.pictures && seen && side && sae.meta.map
      ? seen.filter((i) => sae.flags[i] & PICTURED).reverse() : [];
    const sprites = sheets.ready(pictured);
    const grow = growth(sae.n, view.z);
    renderer.draw({
      camera: view, morph, ratio: ratio(), grow, palette, sprites, side,
      edges: edgeCount(moving), list: shown.list, top: shown.top,
    });
    const isPicture = new Set(sprites);
    const below = (i: number) => 3 + (isPicture.has(i) ? side / 2
      : radius(shown.look.bytes[4 * i], grow));
    placed = names.names({
      camera: view, split: morph > 0.5, below, place: project,
      seen: seen && seen.length <= NAMED ? seen : null,
    });
    names.show(morphing ? [] : placed);
    putRing(ring, shown.selected, below);
    putRing(cursorRing, shown.cursor, below);
    putLasso(view);
    times.push(performance.now() - began);
    if (times.length > 240) times.shift();
    frames++;
  }

  function putRing(
    element: HTMLElement,
    i: number,
    below: (i: number) => number,
  ) {
    element.hidden = i < 0;
    if (i < 0) return;
    const [x, y] = project(i);
    const r = below(i) + 4;
    element.style.width = element.style.height = `${2 * r}px`;
    element.style.transform = `translate(${x - r}px, ${y - r}px)`;
    element.dataset.kind = String(sae.kind[i]);
  }

  function putLasso(view: Camera) {
    const points: string[] = [];
    for (let i = 0; i < shown.lasso.length; i += 2) {
      const at = toScreen(view, shown.lasso[i], shown.lasso[i + 1]);
      points.push(at.map((v) => v.toFixed(1)).join(','));
    }
    outline.setAttribute('points', points.join(' '));
  }

  const ratio = () => Math.min(2, window.devicePixelRatio || 1);

  function resize() {
    size = [element.clientWidth, element.clientHeight];
    renderer.canvas.width = Math.max(1, Math.round(size[0] * ratio()));
    renderer.canvas.height = Math.max(1, Math.round(size[1] * ratio()));
    if (asked) cancelAnimationFrame(asked);
    asked = 0;
    draw(performance.now());
  }

  const watch = new ResizeObserver(resize);
  watch.observe(element);
  prepare();

  return {
    element,
    scene: sae,
    show(change) {
      if (change.layout && change.layout !== shown.layout) {
        morphFrom = morph;
        morphing = 0;
      }
      if (change.place) {
        const { x, y, z } = shown.place;
        const { place } = change;
        if (x !== place.x || y !== place.y || z !== place.z) {
          moved = performance.now();
        }
      }
      if (change.look && change.look !== shown.look) {
        renderer.setLook(change.look);
      }
      Object.assign(shown, change);
      redraw();
    },
    shown: () => shown,
    camera,
    grid,
    project,
    names: () => placed,
    stats() {
      const order = [...times].sort((a, b) => a - b);
      return {
        points: sae.n,
        edges: drawn,
        frames,
        submit: order[order.length >> 1] ?? 0,
        renderer: renderer.kind,
      };
    },
    redraw,
    picture() {
      draw(performance.now());
      return renderer.canvas;
    },
    repaint(next) {
      palette = next;
      redraw();
    },
    dispose() {
      watch.disconnect();
      if (asked) cancelAnimationFrame(asked);
      clearTimeout(resting);
      clearTimeout(waiting);
      renderer.dispose();
      element.remove();
    },
  };
}

/** Pixels to a unit of the map as it is shown. */
export function mapScales(map: MapHandle): [number, number] {
  return scales(map.camera());
}
