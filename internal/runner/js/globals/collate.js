// collate.js is String.prototype.localeCompare: dictionary order, by Go.
(function (native) {
  'use strict';

  const LEVELS = { base: 'base', accent: 'accent', case: 'case', variant: '' };

  // Plain ASCII letters of one case order as their codes do, so most comparisons need not leave the engine.
  const plain = /^[a-z]*$/;

  const compare = (a, b, options) => {
    if (a === b) return 0;
    if (options === undefined && plain.test(a) && plain.test(b)) return a < b ? -1 : 1;
    const words = [];
    if (options?.numeric) words.push('numeric');
    const level = LEVELS[options?.sensitivity ?? 'variant'];
    if (level === undefined) throw new RangeError(`Value ${String(options.sensitivity)} out of range for options property sensitivity`);
    if (level) words.push(level);
    return native('collate', a, b, words.join(' '));
  };

  return { compare };
})
