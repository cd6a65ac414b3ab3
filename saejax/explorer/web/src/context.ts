// What every view is given.
import { DataError } from './decoding';
import { fill, h } from './dom';
import type { Child } from './dom';
import type { Sae } from './sae';
import type { Site } from './site';
import type { How, State, Store } from './state';

export interface Context {
  site: Site;
  store: Store;
  sae: Sae;
  go(change: Partial<State>, how?: How): void;
  say(text: string): void; // To those who listen rather than look.
  fail(error: unknown): void;
  found(): Uint32Array | null; // What the search box asks for; null: nothing.
  list(): Uint32Array; // Concepts in the order that [ and ] go through.
  setList(list: Uint32Array): void;
}

export interface View {
  element: HTMLElement;
  update?(state: State, before: State): void;
  dispose?(): void;
}

export function explain(error: unknown): HTMLElement {
  const title = error instanceof DataError
    ? `${error.file} ${error.what}.` : String(error);
  const advice = error instanceof DataError
    ? 'Load the page again. If this stays, the site was not copied whole: ' +
      'build it again, or copy it again.'
    : 'Load the page again.';
  return h(
    'div',
    { class: 'problem', role: 'alert' },
    h('strong', {}, title),
    h('p', {}, advice),
  );
}

/** An element that waits for something, and shows it or what went wrong. */
export function later<T>(
  work: Promise<T>,
  render: (value: T) => Child | Child[],
  attributes: Record<string, unknown> = {},
): HTMLElement {
  const element = h(
    'div',
    { ...attributes, 'aria-busy': 'true' },
    h('div', { class: 'skeleton' }),
  );
  const show = (child: Child | Child[]) => {
    fill(element, ...(Array.isArray(child) ? child : [child]));
    element.removeAttribute('aria-busy');
  };
  work.then(render).then(show, (error) => show(explain(error)));
  return element;
}
