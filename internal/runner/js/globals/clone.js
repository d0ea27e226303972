// clone.js is structuredClone: a deep copy that keeps cycles and the built-in types, and refuses functions.
(function (native, load) {
  'use strict';

  const { Map, Set, Date, RegExp, Error, ArrayBuffer, Object, Array, Boolean, Number, String, BigInt } = globalThis;
  const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

  const refused = (value) => new (load('events').DOMException)(`${typeof value === 'symbol' ? 'Symbol' : String(value?.constructor?.name ?? value)} could not be cloned.`, 'DataCloneError');

  const structuredClone = (value, options) => {
    const seen = new Map();
    const moved = new Set(options?.transfer ?? []);

    const copy = (v) => {
      if (typeof v === 'symbol' || typeof v === 'function') throw refused(v);
      if (v === null || typeof v !== 'object') return v;
      if (seen.has(v)) return seen.get(v);
      const keep = (c) => {
        seen.set(v, c);
        return c;
      };
      const tag = Object.prototype.toString.call(v);
      if (v instanceof Date) return keep(new Date(v.getTime()));
      if (v instanceof RegExp) return keep(new RegExp(v.source, v.flags));
      if (tag === '[object Boolean]' || tag === '[object Number]' || tag === '[object String]') return keep(Object(v.valueOf()));
      if (v instanceof ArrayBuffer) return keep(moved.has(v) ? v.transfer() : v.slice(0));
      if (ArrayBuffer.isView(v)) {
        const length = v instanceof DataView ? v.byteLength : v.length;
        const Type = v instanceof DataView ? DataView : globalThis[v[Symbol.toStringTag]]; // a Buffer becomes a Uint8Array
        return keep(new Type(copy(v.buffer), v.byteOffset, length));
      }
      if (v instanceof Map) {
        const out = keep(new Map());
        for (const [k, x] of [...v]) out.set(copy(k), copy(x));
        return out;
      }
      if (v instanceof Set) {
        const out = keep(new Set());
        for (const x of [...v]) out.add(copy(x));
        return out;
      }
      if (v instanceof Error) {
        const Type = ERRORS[v.name] ?? Error;
        const out = keep(Object.create(Type.prototype));
        const hidden = (name, x) => Object.defineProperty(out, name, { value: x, writable: true, configurable: true, enumerable: false });
        if (v.message !== undefined) hidden('message', String(v.message));
        if (v.stack !== undefined) hidden('stack', String(v.stack));
        if ('cause' in v) hidden('cause', copy(v.cause));
        return out;
      }
      if (v instanceof Promise || v instanceof WeakMap || v instanceof WeakSet || v instanceof WeakRef) throw refused(v);
      const out = keep(Array.isArray(v) ? new Array(v.length) : {});
      for (const k of Object.keys(v)) out[k] = copy(v[k]);
      return out;
    };
    return copy(value);
  };

  return { structuredClone };
})
