// The page: opens the site, then shows what the link says.
import { createAddressedStore } from './address';
import { explain } from './context';
import { DataError } from './decoding';
import { fill, h } from './dom';
import { offerHook } from './hook';
import { createShell } from './shell';
import type { Shell } from './shell';
import { entryOf, openSite } from './site';
import type { Site } from './site';
import type { Store } from './state';
import { applyTheme, onSystemTheme } from './theme';

const root = document.getElementById('app')!;

function loadingPage(title: string) {
  const bar = h('progress', { max: 6, value: 0, 'aria-label': 'Loading' });
  fill(root, h('div', { class: 'loading', role: 'status' },
    h('h1', {}, title), h('p', {}, 'Loading the dictionary\u2026'), bar));
  return (done: number, all: number) => {
    bar.value = done;
    bar.max = all;
  };
}

function problemPage(...children: Node[]) {
  fill(root, h('main', { class: 'trouble' }, ...children));
}

function fileHint() {
  problemPage(
    h('h1', {}, 'This page needs a server'),
    h('p', {}, 'Browsers do not let a page that is opened as a file read the ' +
      'files beside it. Serve its folder, and open the address it prints:'),
    h('pre', {}, 'python -m http.server --directory SITE'),
    h('p', {}, 'Or build the site as a single file, which opens anywhere.'),
  );
}

async function run() {
  applyTheme('auto');
  const hook = offerHook();
  const bundled = document.getElementById('bundle') !== null;
  if (location.protocol === 'file:' && !bundled) {
    hook.failed(new Error('a page opened as a file'));
    fileHint();
    return;
  }
  try {
    const site = await openSite(document);
    document.title = site.index.title;
    const store = createAddressedStore(site.index.default);
    await show(site, store);
  } catch (error) {
    hook.failed(error);
    problemPage(h('h1', {}, 'The explorer cannot start'), explain(error));
    if (!(error instanceof DataError)) throw error;
  }

  async function show(site: Site, store: Store) {
    let shell: Shell | null = null;
    let opening = '';

    async function open(id: string) {
      opening = id;
      applyTheme(store.get().theme);
      shell?.dispose();
      shell = null;
      const sae = await site.sae(id, loadingPage(site.index.title));
      if (opening !== id) return;
      shell = createShell(site, store, sae);
      fill(root, shell.element);
      shell.start();
      hook.showing(shell);
    }

    store.subscribe((state, before) => {
      if (state.theme !== before.theme) applyTheme(state.theme);
      const { id } = entryOf(site.index, state.sae);
      if (id === opening) return;
      open(id).catch((error) =>
        problemPage(h('h1', {}, 'The dictionary cannot be shown'),
          explain(error)));
    });
    onSystemTheme(() => {
      applyTheme(store.get().theme);
      shell?.repaint();
    });
    await open(entryOf(site.index, store.get().sae).id);
  }
}

// A single file carries its data behind this script.
if (document.readyState !== 'loading') void run();
else document.addEventListener('DOMContentLoaded', () => void run());
