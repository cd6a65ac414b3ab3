// Numbers as people read them.
import type { Column } from './format';

export const UNKNOWN = '\u2013';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** Three digits; a dash for what is not a number. */
export function digits(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) {
    return UNKNOWN;
  }
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1000) return whole.format(value);
  if (size < 1e-3) {
    const [head, power] = value.toExponential(1).split('e');
    return `${head.replace('-', '\u2212')}e${power.replace('-', '\u2212')}`;
  }
  return String(Number(value.toPrecision(3))).replace('-', '\u2212');
}

export function count(value: number): string {
  return whole.format(value);
}

export function percent(share: number): string {
  if (!Number.isFinite(share)) return UNKNOWN;
  return `${digits(100 * share)}\u00a0%`;
}

/** A value of a column with its unit. */
export function withUnit(value: number, column: Column | undefined): string {
  const text = digits(value);
  const unit = column?.unit ?? '';
  return unit && text !== UNKNOWN ? `${text} ${unit}` : text;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Share of the known values of a sorted array that lie below one, 0..1. */
export function percentile(sorted: Float32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return sorted.length ? low / sorted.length : NaN;
}
