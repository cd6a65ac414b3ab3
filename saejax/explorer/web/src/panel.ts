// What stands beside the view: a card, what was found, or how to begin.
import { conceptCard } from './card';
import type { Context } from './context';
import { button, fill, h } from './dom';
import { examplePanel } from './examples';
import { conceptLink } from './marks';
import { plural } from './numbers';
import { resultsPanel } from './results';
import type { State } from './state';
import { goToStop } from './tour';

function intro(context: Context): HTMLElement {
  const { sae, site } = context;
  const surprise = () => {
    const at = Math.floor(Math.random() * Math.min(sae.n, 300));
    context.go({ c: sae.ids[sae.byEnergy[at]] }, 'push');
  };
  return h(
    'div',
    { class: 'intro' },
    h('h2', {}, sae.meta.title),
    h(
      'p',
      {},
      `${plural(sae.n, 'concept')} that a sparse autoencoder found in ` +
        `${sae.meta.model}, and ${plural(sae.m, 'bridge')} between those that ` +
        'fire on an image and those that fire on its caption.',
    ),
    h(
      'p',
      { class: 'quiet' },
      'A point is a concept: the larger, the more energy; the fainter, the ' +
        'less stable. Choose one to see what it fires on.',
    ),
    h(
      'div',
      { class: 'buttons' },
      site.index.tour.length
        ? button('Take the tour', () => goToStop(context, 0)) : null,
      button('Start from an example',
        () => context.go({ view: 'examples' }, 'push')),
      button('Surprise me', surprise),
    ),
    h('h3', {}, 'The most energetic'),
    strongest(context),
  );
}

function strongest(context: Context): HTMLElement {
  const { sae } = context;
  return h(
    'ul',
    { class: 'found' },
    ...Array.from(sae.byEnergy.subarray(0, 8), (i) =>
      h('li', {}, conceptLink(context, i)),
    ),
  );
}

export interface Panel {
  element: HTMLElement;
  update(state: State, before: State, picked: Uint32Array): void;
}

export function createPanel(context: Context): Panel {
  const { sae } = context;
  const body = h('div', { class: 'panel-body', tabindex: -1 });
  const grip = button('', () => raise(!raised), {
    class: 'grip', 'aria-label': 'Make the sheet taller or lower',
  });
  const close = button('\u00d7', () => context.go({ c: null }, 'push'), {
    class: 'close', 'aria-label': 'Close the card',
  });
  const element = h(
    'aside', { class: 'panel', 'aria-label': 'Details' }, grip, close, body,
  );
  let raised = false;
  let shown = '';

  function raise(on: boolean) {
    raised = on;
    element.classList.toggle('raised', on);
    grip.setAttribute('aria-expanded', String(on));
  }

  function content(state: State, picked: Uint32Array): HTMLElement {
    if (state.c !== null) {
      const index = sae.indexOf.get(state.c);
      if (index !== undefined) return conceptCard(context, index);
      return h(
        'div',
        {},
        h('h2', {}, `No concept ${state.c}`),
        h('p', {}, 'This dictionary does not show a concept of that number: ' +
          'it may be dead, or of another dictionary.'),
      );
    }
    const example = examplePanel(context, state);
    if (example) return example;
    if (state.lasso.length) {
      return resultsPanel(context, 'Inside the lasso', picked, () =>
        context.go({ lasso: [] }));
    }
    const found = context.found();
    if (found) {
      return resultsPanel(context, 'Found', found, () => context.go({ q: '' }));
    }
    return intro(context);
  }

  return {
    element,
    update(state, before, picked) {
      const key = JSON.stringify([
        state.c, state.picture, state.text, state.lasso, state.q,
      ]);
      const used = state.c !== null || state.picture !== null
        || state.text !== null || state.lasso.length > 0 || !!state.q;
      document.body.classList.toggle('detailed', used);
      const chosen = state.c ?? state.picture ?? state.text;
      document.body.classList.toggle('chosen', chosen !== null);
      close.hidden = state.c === null;
      if (key === shown) return;
      shown = key;
      if (state.c !== before.c && state.c === null) raise(false);
      fill(body, content(state, picked));
      body.scrollTop = 0;
    },
  };
}
