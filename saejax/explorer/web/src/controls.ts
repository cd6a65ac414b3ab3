// How the map is shown: layout, bridges, size, what fades.
import { segments } from './bars';
import type { Context } from './context';
import { button, h, phone } from './dom';
import { shape } from './marks';
import { count } from './numbers';
import type { State } from './state';

const STEPS = 200; // Of the slider of bridges, which is a root scale.

function toggle(label: string, title: string, change: (on: boolean) => void) {
  const box = h('input', {
    type: 'checkbox', on: { change: () => change(box.checked) },
  });
  return { box, element: h('label', { title }, box, label) };
}

export function createControls(context: Context, lasso: () => void) {
  const { sae } = context;
  const layout = segments(
    'Layout',
    [['joint', 'Neighbours'], ['split', 'Image \u2194 text']] as const,
    (value) => context.go({ layout: value, x: 0.5, y: 0.5, z: 1, lasso: [] }),
  );
  const edges = h('input', {
    type: 'range', min: 0, max: STEPS, 'aria-label': 'Bridges drawn',
    on: {
      input: () => {
        const share = Number(edges.value) / STEPS;
        context.go({ edges: Math.round(sae.m * share ** 3) });
      },
    },
  });
  const drawn = h('output', {});
  const size = h(
    'select',
    {
      'aria-label': 'Size of points',
      on: { change: () => context.go({ size: size.value }) },
    },
    ...sae.meta.columns.map((c) => h('option', { value: c.name }, c.label)),
  );
  const fade = toggle(
    'Fade unreliable',
    'Those of whose true neighbours the map keeps fewer than half',
    (on) => context.go({ fade: on }),
  );
  const pics = toggle(
    'Pictures',
    'From near, a picture that a concept fires on instead of its point',
    (on) => context.go({ pics: on }),
  );
  const draw = button('Lasso', lasso, {
    class: 'plain', title: 'Draw around concepts (or drag with Shift)',
  });
  const element = h(
    'details',
    { class: 'controls', open: !phone.matches },
    h('summary', {}, 'Display'),
    h(
      'div',
      {},
      layout.element,
      h('label', { class: 'row' }, 'Bridges', edges, drawn),
      h('label', { class: 'row' }, 'Size', size),
      pics.element,
      fade.element,
      draw,
    ),
  );
  phone.addEventListener('change', follow);
  function follow() {
    element.open = !phone.matches;
  }

  function update(state: State) {
    layout.set(state.layout);
    const shown = Math.min(state.edges, sae.m);
    const at = sae.m ? STEPS * (shown / sae.m) ** (1 / 3) : 0;
    if (document.activeElement !== edges) edges.value = String(Math.round(at));
    drawn.textContent = `${count(shown)} of ${count(sae.m)}`;
    edges.setAttribute('aria-valuetext', `${shown} strongest bridges`);
    size.value = state.size;
    fade.box.checked = state.fade;
    pics.box.checked = state.pics;
  }

  return {
    element,
    update,
    dispose: () => phone.removeEventListener('change', follow),
    lassoing(on: boolean) {
      draw.setAttribute('aria-pressed', String(on));
    },
  };
}

/** What shapes and strokes mean. */
export function legend(): HTMLElement {
  const item = (kind: string, text: string) =>
    h('li', {}, shape(kind), text);
  return h(
    'ul',
    { class: 'legend', 'aria-label': 'Legend' },
    item('image', 'image'),
    item('text', 'text'),
    item('shared', 'shared'),
    item('unclassified', 'neither'),
    h('li', {}, h('span', { class: 'stroke' }), 'bridge'),
  );
}
