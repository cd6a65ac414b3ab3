// Dark, light, or as the system has it; the map's colours are the style sheet's.
import type { Palette, Rgb } from './scene';
import type { Theme } from './state';

const dark = () => matchMedia('(prefers-color-scheme: dark)');

export function applyTheme(theme: Theme): void {
  const shown = theme === 'auto' ? (dark().matches ? 'dark' : 'light') : theme;
  document.documentElement.dataset.theme = shown;
}

export function onSystemTheme(tell: () => void): void {
  dark().addEventListener('change', tell);
}

/** '#rrggbb' to numbers within 0..1. */
export function parseColour(text: string): Rgb {
  const found = /^#([0-9a-f]{6})$/i.exec(text.trim());
  const value = found ? parseInt(found[1], 16) : 0x808080;
  return [value >> 16, (value >> 8) & 255, value & 255].map(
    (byte) => byte / 255,
  ) as Rgb;
}

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => parseColour(style.getPropertyValue(name));
  return {
    ground: colour('--ground'),
    ink: colour('--ink'),
    kinds: ['--none', '--image', '--text', '--shared'].map(colour),
    bridge: colour('--bridge'),
  };
}
