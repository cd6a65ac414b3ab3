// Keys that work everywhere but in a field.
import type { Context } from './context';

export interface Acts {
  search(): void;
  help(): void;
  zoom(factor: number): void;
  whole(): void;
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement
    && (target.matches('input, select, textarea') || target.isContentEditable);
}

/** The concept `step` places on in the list; the first if none is chosen. */
export function beside(
  list: Uint32Array,
  chosen: number,
  step: number,
): number {
  if (!list.length) return -1;
  const at = list.indexOf(chosen);
  if (at < 0) return list[step > 0 ? 0 : list.length - 1];
  return list[(at + step + list.length) % list.length];
}

export function listenKeys(context: Context, acts: Acts): () => void {
  const { sae, store } = context;

  function step(by: number) {
    const { c } = store.get();
    const chosen = c === null ? -1 : (sae.indexOf.get(c) ?? -1);
    const next = beside(context.list(), chosen, by);
    if (next >= 0) context.go({ c: sae.ids[next] }, 'push');
  }

  /** Closes what was opened last. */
  function escape() {
    const state = store.get();
    if (state.c !== null) context.go({ c: null }, 'push');
    else if (state.picture !== null || state.text !== null) {
      context.go({ picture: null, text: null });
    } else if (state.lasso.length) context.go({ lasso: [] });
    else if (state.q) context.go({ q: '' });
    else if (state.tour !== null) context.go({ tour: null });
  }

  function keydown(event: KeyboardEvent) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
    if (typing(event.target)) {
      if (event.key === 'Escape') (event.target as HTMLElement).blur();
      return;
    }
    const act: Record<string, () => void> = {
      '/': acts.search,
      '?': acts.help,
      '+': () => acts.zoom(1.6),
      '=': () => acts.zoom(1.6),
      '-': () => acts.zoom(1 / 1.6),
      '0': acts.whole,
      '[': () => step(-1),
      ']': () => step(1),
      Escape: escape,
    };
    if (!(event.key in act)) return;
    event.preventDefault();
    act[event.key]();
  }

  document.addEventListener('keydown', keydown);
  return () => document.removeEventListener('keydown', keydown);
}
