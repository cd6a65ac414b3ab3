// Elements. Words enter the page here, and only ever as text.

export type Child = Node | string | number | null | undefined | false;
type Listener = (event: any) => void;

export interface Attributes {
  on?: Record<string, Listener>;
  css?: Record<string, string>;
  [name: string]: unknown;
}

function dress(element: Element, attributes: Attributes, children: Child[]) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'on') {
      for (const [type, listener] of Object.entries(value as object)) {
        element.addEventListener(type, listener as Listener);
      }
    } else if (name === 'css') {
      const { style } = element as HTMLElement;
      for (const [key, text] of Object.entries(value as object)) {
        style.setProperty(key, String(text));
      }
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...present(children));
}

function present(children: Child[]): (Node | string)[] {
  const out: (Node | string)[] = [];
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    out.push(typeof child === 'number' ? String(child) : child);
  }
  return out;
}

/** An HTML element. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  dress(element, attributes, children);
  return element;
}

/** An SVG element. */
export function s<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  dress(element, attributes, children);
  return element;
}

export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...present(children));
}

/** A button that does one thing. */
export function button(
  label: Child,
  click: (event: MouseEvent) => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  return h('button', { type: 'button', on: { click }, ...attributes }, label);
}

/** Text of any origin at a bearable length, or `otherwise` if it is blank. */
export function tidy(text: string, otherwise: string, most = 120): string {
  const line = text.replace(/\s+/g, ' ').trim();
  if (!line) return otherwise;
  return line.length > most ? `${cut(line, most - 1)}\u2026` : line;
}

/** The first n units of a text, less the half of a character at their end. */
function cut(text: string, n: number): string {
  return text.slice(0, n).replace(/[\ud800-\udbff]$/, '');
}

/** Whether the page has the width of a phone; as in phone.css. */
export const phone = globalThis.matchMedia?.('(max-width: 760px)');

export function stillness(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
