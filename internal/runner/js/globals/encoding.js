// encoding.js is TextEncoder, TextDecoder, atob and btoa.
(function (native, load) {
  'use strict';

  const { Uint8Array, ArrayBuffer, Object, String, TypeError, RangeError } = globalThis;
  const toBase64 = (bytes) => Uint8Array.prototype.toBase64.call(bytes);

  class TextEncoder {
    get encoding() {
      return 'utf-8';
    }
    encode(text = '') {
      return Uint8Array.fromBase64(native('bytes', 'utf8', String(text)));
    }
    encodeInto(text, target) {
      if (!(target instanceof Uint8Array)) throw new TypeError('The "dest" argument must be an instance of Uint8Array');
      let read = 0;
      let written = 0;
      for (const character of String(text)) {
        const bytes = this.encode(character);
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        written += bytes.length;
        read += character.length;
      }
      return { read, written };
    }
  }

  const LABELS = {
    'utf-8': 'utf-8', utf8: 'utf-8', 'unicode-1-1-utf-8': 'utf-8',
    'utf-16le': 'utf-16le', 'utf-16': 'utf-16le', ucs2: 'utf-16le', 'ucs-2': 'utf-16le', unicode: 'utf-16le', 'utf-16be': 'utf-16be',
    'windows-1252': 'windows-1252', latin1: 'windows-1252', 'iso-8859-1': 'windows-1252', ascii: 'windows-1252', 'us-ascii': 'windows-1252', cp1252: 'windows-1252',
  };

  const bytesOf = (input) => {
    if (input === undefined) return new Uint8Array(0);
    if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    if (input instanceof ArrayBuffer) return new Uint8Array(input);
    throw new TypeError('The "input" argument must be an instance of ArrayBuffer or ArrayBufferView');
  };

  class TextDecoder {
    #encoding;
    #fatal;
    #ignoreBOM;
    #left = new Uint8Array(0); // the start of a character that a later chunk completes
    #begun = false;

    constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
      this.#encoding = LABELS[String(label).trim().toLowerCase()];
      if (!this.#encoding) throw new RangeError(`The "${label}" encoding is not supported`);
      this.#fatal = Boolean(fatal);
      this.#ignoreBOM = Boolean(ignoreBOM);
    }
    get encoding() {
      return this.#encoding;
    }
    get fatal() {
      return this.#fatal;
    }
    get ignoreBOM() {
      return this.#ignoreBOM;
    }

    decode(input, { stream = false } = {}) {
      let bytes = bytesOf(input);
      if (this.#left.length > 0) {
        const joined = new Uint8Array(this.#left.length + bytes.length);
        joined.set(this.#left);
        joined.set(bytes, this.#left.length);
        bytes = joined;
      }
      const whole = stream ? bytes.length - unfinished(bytes, this.#encoding) : bytes.length;
      this.#left = bytes.slice(whole);
      let text = native('decode', this.#encoding, toBase64(bytes.subarray(0, whole)), this.#fatal ? 'fatal' : '');
      if (!this.#begun && !this.#ignoreBOM && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
      this.#begun = stream && (this.#begun || whole > 0);
      return text;
    }
  }

  // How many bytes at the end begin a character that is not complete.
  const unfinished = (bytes, encoding) => {
    const n = bytes.length;
    if (encoding === 'windows-1252') return 0;
    if (encoding !== 'utf-8') {
      const odd = n % 2;
      if (n - odd < 2) return odd;
      const high = bytes[n - odd - (encoding === 'utf-16le' ? 1 : 2)];
      return odd + (high >= 0xd8 && high <= 0xdb ? 2 : 0);
    }
    for (let back = 1; back <= Math.min(3, n); back++) {
      const b = bytes[n - back];
      if ((b & 0xc0) === 0x80) continue;
      const need = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : b >= 0xc0 ? 2 : 1;
      return need > back ? back : 0;
    }
    return 0;
  };

  const invalid = (message) => new (load('events').DOMException)(message, 'InvalidCharacterError');

  const btoa = (text) => {
    const s = String(text);
    if (/[^\0-\xff]/.test(s)) throw invalid('Invalid character');
    return native('bytes', 'latin1', s);
  };
  const atob = (text) => {
    const s = String(text).replace(/[\t\n\f\r ]/g, '');
    const body = s.length % 4 === 0 ? s.replace(/={1,2}$/, '') : s;
    if (body.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(body)) throw invalid('The string to be decoded is not correctly encoded.');
    return native('string', 'latin1', body + '='.repeat((4 - (body.length % 4)) % 4));
  };

  for (const [Class, name] of [[TextEncoder, 'TextEncoder'], [TextDecoder, 'TextDecoder']]) {
    Object.defineProperty(Class.prototype, Symbol.toStringTag, { value: name, configurable: true });
  }
  return { TextEncoder, TextDecoder, atob, btoa };
})
