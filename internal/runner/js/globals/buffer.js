// buffer.js is Node's Buffer: a Uint8Array with encodings. Conversions other than base64 and hex, which the engine has, are
// done in Go.
(function (native, load) {
  'use strict';

  const { Uint8Array, ArrayBuffer, SharedArrayBuffer, DataView, Object, String, Number, Symbol, Array, Math, TypeError, RangeError, JSON, BigInt } = globalThis;
  const MAX = 0x7fffffff;

  class FastBuffer extends Uint8Array {}

  const asBuffer = (bytes) => Object.setPrototypeOf(bytes, FastBuffer.prototype);
  const fromBase64 = (text) => asBuffer(Uint8Array.fromBase64(text));
  // Standard base64 of any byte array: how bytes travel to Go.
  const toBase64 = (bytes) => Uint8Array.prototype.toBase64.call(bytes);

  const NAMES = {
    utf8: 'utf8', 'utf-8': 'utf8', hex: 'hex', base64: 'base64', base64url: 'base64url', latin1: 'latin1', binary: 'latin1',
    ascii: 'ascii', utf16le: 'utf16le', 'utf-16le': 'utf16le', ucs2: 'utf16le', 'ucs-2': 'utf16le',
  };
  const known = (encoding) => NAMES[encoding] ?? NAMES[String(encoding).toLowerCase()];
  const named = (encoding) => {
    if (encoding === undefined || encoding === null || encoding === '') return 'utf8';
    const name = known(encoding);
    if (!name) throw problem(TypeError, 'ERR_UNKNOWN_ENCODING', `Unknown encoding: ${encoding}`);
    return name;
  };

  function problem(Type, code, message) {
    const e = new Type(message);
    e.code = code;
    return e;
  }
  const wrongType = (name, expected, value) => {
    const got = value === null || value === undefined ? String(value) : typeof value === 'object' ? `an instance of ${value.constructor?.name ?? 'Object'}` : `type ${typeof value} (${String(value)})`;
    return problem(TypeError, 'ERR_INVALID_ARG_TYPE', `The ${name} must be ${expected}. Received ${got}`);
  };
  const outOfRange = (name, range, value) =>
    problem(RangeError, 'ERR_OUT_OF_RANGE', `The value of "${name}" is out of range. It must be ${range}. Received ${String(value)}`);

  const encode = (text, encoding) => {
    switch (encoding) {
      case 'hex': {
        const clean = /^(?:[0-9a-f]{2})*/i.exec(text)[0]; // Node stops at the first pair that is none
        return asBuffer(Uint8Array.fromHex(clean));
      }
      case 'base64':
        try {
          return fromBase64(text);
        } catch {
          return fromBase64(native('bytes', 'base64', text));
        }
      default:
        return fromBase64(native('bytes', encoding, text));
    }
  };

  const decode = (bytes, encoding) => {
    if (bytes.length === 0) return '';
    switch (encoding) {
      case 'hex':
        return Uint8Array.prototype.toHex.call(bytes);
      case 'base64':
        return toBase64(bytes);
      case 'base64url':
        return Uint8Array.prototype.toBase64.call(bytes, { alphabet: 'base64url', omitPadding: true });
      default:
        return native('string', encoding, toBase64(bytes));
    }
  };

  const size = (value) => {
    if (typeof value !== 'number') throw wrongType('"size" argument', 'of type number', value);
    if (!(value >= 0 && value <= MAX)) throw outOfRange('size', `>= 0 && <= ${MAX}`, value);
    return value;
  };

  const isView = ArrayBuffer.isView;
  const isRawBuffer = (v) => v instanceof ArrayBuffer || v instanceof SharedArrayBuffer;

  const from = (value, encodingOrOffset, length) => {
    if (typeof value === 'string') return encode(value, named(encodingOrOffset));
    if (value !== null && typeof value === 'object') {
      if (isRawBuffer(value)) return fromArrayBuffer(value, encodingOrOffset, length);
      const primitive = value.valueOf?.();
      if (primitive !== undefined && primitive !== null && primitive !== value && (typeof primitive === 'string' || typeof primitive === 'object')) {
        return from(primitive, encodingOrOffset, length);
      }
      if (value.type === 'Buffer' && Array.isArray(value.data)) return fromList(value.data);
      if (isView(value) || Array.isArray(value) || typeof value.length === 'number') return fromList(value);
      if (value.length !== undefined) return new FastBuffer(0);
      if (typeof value[Symbol.toPrimitive] === 'function') {
        const text = value[Symbol.toPrimitive]('string');
        if (typeof text === 'string') return encode(text, named(encodingOrOffset));
      }
    }
    throw wrongType('first argument', 'of type string or an instance of Buffer, ArrayBuffer, or Array or an Array-like Object', value);
  };

  const fromArrayBuffer = (value, offset, length) => {
    const start = offset === undefined ? 0 : Number.isNaN(+offset) ? 0 : +offset;
    const room = value.byteLength - start;
    if (room < 0) throw problem(RangeError, 'ERR_BUFFER_OUT_OF_BOUNDS', '"offset" is outside of buffer bounds');
    let count = room;
    if (length !== undefined) {
      count = +length > 0 ? +length : 0;
      if (count > room) throw problem(RangeError, 'ERR_BUFFER_OUT_OF_BOUNDS', '"length" is outside of buffer bounds');
    }
    return new FastBuffer(value, start, count);
  };

  // Each element as a byte; a DataView counts as an object without elements, as in Node.
  const fromList = (list) => {
    const out = new FastBuffer(list.length > 0 ? list.length : 0);
    if (out.length > 0) out.set(list);
    return out;
  };

  function Buffer(value, encodingOrOffset, length) {
    if (typeof value === 'number') return Buffer.alloc(value);
    return from(value, encodingOrOffset, length);
  }
  Object.defineProperty(Buffer, Symbol.species, {
    configurable: true,
    get() {
      return FastBuffer;
    },
  });
  Object.setPrototypeOf(Buffer, Uint8Array);
  Buffer.prototype = FastBuffer.prototype;
  Object.defineProperty(FastBuffer.prototype, 'constructor', { value: Buffer, writable: true, configurable: true, enumerable: false });

  Buffer.poolSize = 8192;
  Buffer.from = from;
  Buffer.of = (...items) => fromList(items);
  Buffer.alloc = (length, fill, encoding) => {
    const out = new FastBuffer(size(length));
    return fill === undefined || fill === 0 || length === 0 ? out : out.fill(fill, encoding);
  };
  Buffer.allocUnsafe = (length) => new FastBuffer(size(length));
  Buffer.allocUnsafeSlow = Buffer.allocUnsafe;
  Buffer.isBuffer = (value) => value instanceof FastBuffer;
  Buffer.isEncoding = (encoding) => typeof encoding === 'string' && encoding !== '' && known(encoding) !== undefined;
  Buffer.byteLength = (value, encoding) => {
    if (typeof value !== 'string') {
      if (isView(value) || isRawBuffer(value)) return value.byteLength;
      throw wrongType('"string" argument', 'of type string or an instance of Buffer or ArrayBuffer', value);
    }
    switch (known(encoding)) {
      case 'latin1':
      case 'ascii':
        return value.length;
      case 'utf16le':
        return value.length * 2;
      case 'hex':
        return value.length >>> 1;
      case 'base64':
      case 'base64url': {
        let n = value.length;
        if (n > 1 && value.charCodeAt(n - 1) === 61) n--;
        if (n > 1 && value.charCodeAt(n - 1) === 61) n--;
        return (n * 3) >>> 2;
      }
      default:
        return native('size', value);
    }
  };
  Buffer.compare = (a, b) => {
    for (const [name, v] of [['buf1', a], ['buf2', b]]) {
      if (!(v instanceof Uint8Array)) throw wrongType(`"${name}" argument`, 'an instance of Buffer or Uint8Array', v);
    }
    const n = Math.min(a.length, b.length);
    for (let i = 0; i < n; i++) {
      if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
    }
    return a.length === b.length ? 0 : a.length < b.length ? -1 : 1;
  };
  Buffer.concat = (list, length) => {
    if (!Array.isArray(list)) throw wrongType('"list" argument', 'an instance of Array', list);
    if (length === undefined) {
      length = 0;
      for (const item of list) length += item.length;
    } else size(length);
    const out = new FastBuffer(length);
    let at = 0;
    for (const item of list) {
      if (!(item instanceof Uint8Array)) throw wrongType(`"list[${list.indexOf(item)}]" argument`, 'an instance of Buffer or Uint8Array', item);
      if (at >= length) break;
      out.set(at + item.length > length ? item.subarray(0, length - at) : item, at);
      at += item.length;
    }
    return out;
  };

  const methods = {
    toString(encoding, start, end) {
      const part = start === undefined && end === undefined ? this : this.subarray(clamp(start, 0, this.length), clamp(end, this.length, this.length));
      return decode(part, named(encoding));
    },
    toLocaleString(encoding, start, end) {
      return this.toString(encoding, start, end);
    },
    toJSON() {
      return { type: 'Buffer', data: Array.from(this) };
    },
    equals(other) {
      if (!(other instanceof Uint8Array)) throw wrongType('"otherBuffer" argument', 'an instance of Buffer or Uint8Array', other);
      return this.length === other.length && Buffer.compare(this, other) === 0;
    },
    compare(target, targetStart = 0, targetEnd = target?.length, sourceStart = 0, sourceEnd = this.length) {
      if (!(target instanceof Uint8Array)) throw wrongType('"target" argument', 'an instance of Buffer or Uint8Array', target);
      return Buffer.compare(this.subarray(sourceStart, sourceEnd), target.subarray(targetStart, targetEnd));
    },
    // A view, not a copy: unlike Uint8Array's.
    slice(start, end) {
      return this.subarray(start, end);
    },
    write(text, offset, length, encoding) {
      if (typeof text !== 'string') throw wrongType('argument', 'of type string', text);
      if (typeof offset === 'string') [encoding, offset, length] = [offset, undefined, undefined];
      else if (typeof length === 'string') [encoding, length] = [length, undefined];
      const at = offset ?? 0;
      if (at < 0 || at > this.length) throw outOfRange('offset', `>= 0 && <= ${this.length}`, at);
      const name = named(encoding);
      let bytes = encode(text, name);
      const room = Math.min(length ?? Infinity, this.length - at);
      if (bytes.length > room) bytes = bytes.subarray(0, name === 'utf8' ? wholeCharacters(bytes, room) : name === 'utf16le' ? room & ~1 : room);
      this.set(bytes, at);
      return bytes.length;
    },
    fill(value, offset, end, encoding) {
      if (typeof offset === 'string') [encoding, offset, end] = [offset, undefined, undefined];
      else if (typeof end === 'string') [encoding, end] = [end, undefined];
      const from = offset ?? 0;
      const to = end ?? this.length;
      if (from < 0 || from > this.length) throw outOfRange('offset', `>= 0 && <= ${this.length}`, from);
      if (to < 0 || to > this.length) throw outOfRange('end', `>= 0 && <= ${this.length}`, to);
      const pattern = typeof value === 'string' ? encode(value, named(encoding)) : value instanceof Uint8Array ? value : null;
      if (!pattern) {
        Uint8Array.prototype.fill.call(this, Number(value) & 255, from, to);
      } else if (pattern.length === 0) {
        if (typeof value !== 'string' || value !== '') throw problem(TypeError, 'ERR_INVALID_ARG_VALUE', "The argument 'value' is invalid.");
        Uint8Array.prototype.fill.call(this, 0, from, to);
      } else {
        for (let i = from; i < to; i++) this[i] = pattern[(i - from) % pattern.length];
      }
      return this;
    },
    copy(target, targetStart = 0, sourceStart = 0, sourceEnd = this.length) {
      if (!(target instanceof Uint8Array)) throw wrongType('"target" argument', 'an instance of Buffer or Uint8Array', target);
      if (targetStart < 0) throw outOfRange('targetStart', '>= 0', targetStart);
      if (targetStart >= target.length || sourceStart >= sourceEnd) return 0;
      const part = this.subarray(sourceStart, Math.min(sourceEnd, sourceStart + target.length - targetStart));
      target.set(part, targetStart);
      return part.length;
    },
    indexOf(value, offset, encoding) {
      return search(this, value, offset, encoding, 1);
    },
    lastIndexOf(value, offset, encoding) {
      return search(this, value, offset, encoding, -1);
    },
    includes(value, offset, encoding) {
      return this.indexOf(value, offset, encoding) !== -1;
    },
    swap16() {
      return swap(this, 2);
    },
    swap32() {
      return swap(this, 4);
    },
    swap64() {
      return swap(this, 8);
    },
  };

  const clamp = (value, otherwise, length) => {
    if (value === undefined) return otherwise;
    const n = Math.trunc(Number(value)) || 0;
    return n < 0 ? 0 : n > length ? length : n;
  };

  // How many of the first room bytes are whole UTF-8 characters.
  const wholeCharacters = (bytes, room) => {
    let n = room;
    while (n > 0 && (bytes[n] & 0xc0) === 0x80) n--;
    return n;
  };

  const search = (buf, value, offset, encoding, step) => {
    if (typeof offset === 'string') [encoding, offset] = [offset, undefined];
    const needle = typeof value === 'number' ? [value & 255] : typeof value === 'string' ? encode(value, named(encoding)) : value;
    if (typeof value !== 'number' && typeof value !== 'string' && !(value instanceof Uint8Array)) {
      throw wrongType('"value" argument', 'one of type number or string or an instance of Buffer or Uint8Array', value);
    }
    let at = Number(offset);
    if (Number.isNaN(at)) at = step > 0 ? 0 : buf.length;
    at = Math.trunc(at);
    if (at < 0) at += buf.length;
    if (at < 0) {
      if (step < 0) return -1;
      at = 0;
    }
    if (needle.length === 0) return Math.min(at, buf.length);
    at = step < 0 ? Math.min(at, buf.length - needle.length) : at;
    for (; at >= 0 && at + needle.length <= buf.length; at += step) {
      let i = 0;
      while (i < needle.length && buf[at + i] === needle[i]) i++;
      if (i === needle.length) return at;
    }
    return -1;
  };

  const swap = (buf, width) => {
    if (buf.length % width !== 0) throw problem(RangeError, 'ERR_INVALID_BUFFER_SIZE', `Buffer size must be a multiple of ${width * 8}-bits`);
    for (let i = 0; i < buf.length; i += width) buf.subarray(i, i + width).reverse();
    return buf;
  };

  // readUInt16LE and its kin: the DataView method does the work; names with "Uint" are aliases.
  const view = (buf) => new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
  const place = (buf, offset, width) => {
    const at = offset ?? 0;
    if (typeof at !== 'number') throw wrongType('"offset" argument', 'of type number', offset);
    if (!Number.isInteger(at)) throw outOfRange('offset', 'an integer', at);
    if (buf.length < width) throw problem(RangeError, 'ERR_BUFFER_OUT_OF_BOUNDS', 'Attempt to access memory outside buffer bounds');
    if (at < 0 || at + width > buf.length) throw outOfRange('offset', `>= 0 and <= ${buf.length - width}`, at);
    return at;
  };
  const integer = (value, width, signed) => {
    const low = signed ? -(2 ** (8 * width - 1)) : 0;
    const high = signed ? 2 ** (8 * width - 1) - 1 : 2 ** (8 * width) - 1;
    const n = Number(value);
    if (n < low || n > high) throw outOfRange('value', `>= ${low} and <= ${high}`, value);
    return n;
  };
  const fixed = [
    ['UInt8', 'Uint8', 1], ['Int8', 'Int8', 1], ['UInt16', 'Uint16', 2], ['Int16', 'Int16', 2], ['UInt32', 'Uint32', 4],
    ['Int32', 'Int32', 4], ['Float', 'Float32', 4], ['Double', 'Float64', 8], ['BigUInt64', 'BigUint64', 8], ['BigInt64', 'BigInt64', 8],
  ];
  for (const [name, method, width] of fixed) {
    for (const order of width === 1 ? [''] : ['LE', 'BE']) {
      const little = order === 'LE';
      const get = DataView.prototype['get' + method];
      const set = DataView.prototype['set' + method];
      const plain = name.includes('Int') && !name.startsWith('Big');
      methods['read' + name + order] = function (offset) {
        return get.call(view(this), place(this, offset, width), little);
      };
      methods['write' + name + order] = function (value, offset) {
        const at = place(this, offset, width);
        set.call(view(this), at, plain ? integer(value, width, name.startsWith('Int')) : value, little);
        return at + width;
      };
    }
  }
  // readUIntBE(offset, bytes) and its kin, for 1 to 6 bytes.
  const bytesOf = (width) => {
    if (!(Number.isInteger(width) && width >= 1 && width <= 6)) throw outOfRange('byteLength', '>= 1 and <= 6', width);
    return width;
  };
  for (const signed of [false, true]) {
    for (const little of [false, true]) {
      const name = (signed ? 'Int' : 'UInt') + (little ? 'LE' : 'BE');
      methods['read' + name] = function (offset, width) {
        const at = place(this, offset, bytesOf(width));
        let n = 0;
        for (let i = 0; i < width; i++) n = n * 256 + this[little ? at + width - 1 - i : at + i];
        return signed && n >= 2 ** (8 * width - 1) ? n - 2 ** (8 * width) : n;
      };
      methods['write' + name] = function (value, offset, width) {
        const at = place(this, offset, bytesOf(width));
        let n = integer(value, width, signed);
        if (n < 0) n += 2 ** (8 * width);
        for (let i = 0; i < width; i++) {
          this[little ? at + i : at + width - 1 - i] = n % 256;
          n = Math.floor(n / 256);
        }
        return at + width;
      };
    }
  }
  for (const name of Object.keys(methods)) {
    const define = (as) => Object.defineProperty(FastBuffer.prototype, as, { value: methods[name], writable: true, configurable: true, enumerable: false });
    define(name);
    if (name.includes('UInt')) define(name.replace('UInt', 'Uint'));
  }
  Object.defineProperty(FastBuffer.prototype, 'parent', { configurable: true, get() { return this.buffer; } });
  Object.defineProperty(FastBuffer.prototype, 'offset', { configurable: true, get() { return this.byteOffset; } });

  const module = {
    Buffer,
    constants: { MAX_LENGTH: MAX, MAX_STRING_LENGTH: 0x3fffffff },
    kMaxLength: MAX,
    isUtf8: (bytes) => native('valid', toBase64(view8(bytes))) === 'utf8',
    isAscii: (bytes) => view8(bytes).every((b) => b < 128),
    get atob() {
      return load('encoding').atob;
    },
    get btoa() {
      return load('encoding').btoa;
    },
  };
  const view8 = (value) => (isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value));
  module.default = module;

  return { Buffer, module, asBuffer, fromBase64, toBase64, view8, named, encode };
})
