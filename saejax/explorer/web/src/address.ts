// The link: kept in step with the state, and the state with it.
import { createStore, formatHash, parseHash } from './state';
import type { How, State, Store } from './state';

const PAUSE = 250; // ms; browsers allow about a hundred changes in 30 s.

export function createAddressedStore(sae: string): Store {
  let timer = 0;
  let latest: State = parseHash(location.hash, sae);

  function flush() {
    clearTimeout(timer);
    timer = 0;
    const hash = formatHash(latest, sae);
    if (hash !== location.hash) history.replaceState(null, '', hash);
  }

  function write(state: State, how: How) {
    if (how === 'push') {
      flush();
      latest = state;
      const hash = formatHash(state, sae);
      if (hash !== location.hash) history.pushState(null, '', hash);
      return;
    }
    latest = state;
    if (!timer) timer = window.setTimeout(flush, PAUSE);
  }

  const store = createStore(latest, write);
  const follow = () => {
    clearTimeout(timer);
    timer = 0;
    store.set(parseHash(location.hash, sae));
  };
  window.addEventListener('popstate', follow);
  window.addEventListener('hashchange', follow);
  return store;
}

/** The whole link of a state, for others. */
export function linkOf(state: State, sae: string): string {
  return location.href.replace(/#.*$/, '') + formatHash(state, sae);
}
