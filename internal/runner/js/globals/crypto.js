// crypto.js is the part of Node's crypto module that functions use, and the global crypto object.
(function (native, load) {
  'use strict';

  const { Uint8Array, ArrayBuffer, Object, String, Error, TypeError, RangeError, Number, Math } = globalThis;
  const { fromBase64, toBase64, named, encode, view8 } = load('buffer');

  const ALGORITHMS = { md5: 'md5', sha1: 'sha1', sha224: 'sha224', sha256: 'sha256', sha384: 'sha384', sha512: 'sha512' };
  const algorithm = (name) => {
    if (typeof name !== 'string') throw new TypeError('The "algorithm" argument must be of type string');
    const found = ALGORITHMS[name.toLowerCase().replace(/^(rsa-)?sha-?/, 'sha')];
    if (!found) throw new Error('Digest method not supported');
    return found;
  };

  const isBytes = (v) => ArrayBuffer.isView(v) || v instanceof ArrayBuffer;

  // Hash and Hmac keep what they are given and compute once, at the end. Text stays text until then: it crosses to Go as it is.
  class Digest {
    #op;
    #algorithm;
    #key;
    #chunks;
    #done = false;

    constructor(op, name, key, chunks = []) {
      this.#op = op;
      this.#algorithm = name;
      this.#key = key;
      this.#chunks = chunks;
    }

    update(data, encoding) {
      if (this.#done) throw finished();
      if (typeof data === 'string') {
        const name = named(encoding);
        this.#chunks.push(name === 'utf8' ? data : encode(data, name));
      } else if (isBytes(data)) {
        this.#chunks.push(view8(data).slice());
      } else {
        throw new TypeError('The "data" argument must be of type string or an instance of Buffer, TypedArray, or DataView');
      }
      return this;
    }

    digest(encoding) {
      if (this.#done) throw finished();
      this.#done = true;
      const text = this.#chunks.every((c) => typeof c === 'string');
      const data = text ? this.#chunks.join('') : toBase64(joined(this.#chunks));
      const name = encoding === undefined || encoding === 'buffer' ? 'buffer' : named(encoding);
      const direct = name === 'hex' || name === 'base64' || name === 'base64url';
      const out = native(this.#op, this.#algorithm, direct ? name : 'base64', text ? 'text' : 'bytes', data, this.#key);
      if (direct) return out;
      return name === 'buffer' ? fromBase64(out) : fromBase64(out).toString(name);
    }

    copy() {
      if (this.#done) throw finished();
      return new this.constructor(this.#op, this.#algorithm, this.#key, this.#chunks.slice());
    }

    write(data, encoding) {
      this.update(data, encoding);
      return true;
    }
    end(data, encoding) {
      if (data !== undefined) this.update(data, encoding);
      return this;
    }
    read() {
      return this.digest();
    }
  }
  class Hash extends Digest {}
  class Hmac extends Digest {}

  const finished = () => {
    const e = new Error('Digest already called');
    e.code = 'ERR_CRYPTO_HASH_FINALIZED';
    return e;
  };

  const joined = (chunks) => load('buffer').Buffer.concat(chunks.map((c) => (typeof c === 'string' ? encode(c, 'utf8') : c)));

  const keyBytes = (key) => {
    if (typeof key === 'string') return encode(key, 'utf8');
    if (isBytes(key)) return view8(key);
    throw new TypeError('The "key" argument must be of type string or an instance of ArrayBuffer, Buffer, TypedArray, or DataView');
  };

  const createHash = (name) => new Hash('hash', algorithm(name));
  const createHmac = (name, key) => new Hmac('hmac', algorithm(name), toBase64(keyBytes(key)));
  const hash = (name, data, encoding = 'hex') => createHash(name).update(data).digest(encoding);

  const randomUUID = () => native('uuid');
  const randomBytes = (size, callback) => {
    if (!Number.isInteger(size) || size < 0) throw new RangeError('The value of "size" is out of range');
    const bytes = fromBase64(native('random', String(size)));
    if (typeof callback !== 'function') return bytes;
    setImmediate(callback, null, bytes);
    return undefined;
  };
  const randomFillSync = (target, offset = 0, size = target.byteLength - offset) => {
    view8(target).subarray(offset, offset + size).set(fromBase64(native('random', String(size))));
    return target;
  };
  const randomInt = (low, high, callback) => {
    if (high === undefined || typeof high === 'function') [low, high, callback] = [0, low, high];
    const range = high - low;
    if (!(Number.isSafeInteger(low) && Number.isSafeInteger(high) && range > 0 && range <= 2 ** 48)) {
      throw new RangeError('The value of "max" is out of range');
    }
    const limit = 2 ** 48 - (2 ** 48 % range); // above it the remainder would favour small numbers
    let n;
    do n = fromBase64(native('random', '6')).readUIntBE(0, 6);
    while (n >= limit);
    n = low + (n % range);
    if (typeof callback !== 'function') return n;
    setImmediate(callback, null, n);
    return undefined;
  };

  const timingSafeEqual = (a, b) => {
    if (!isBytes(a) || !isBytes(b)) throw new TypeError('The arguments must be instances of ArrayBuffer, Buffer, TypedArray, or DataView');
    const [x, y] = [view8(a), view8(b)];
    if (x.length !== y.length) {
      const e = new RangeError('Input buffers must have the same byte length');
      e.code = 'ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH';
      throw e;
    }
    let difference = 0;
    for (let i = 0; i < x.length; i++) difference |= x[i] ^ y[i];
    return difference === 0;
  };

  const getRandomValues = (target) => {
    if (!ArrayBuffer.isView(target) || target instanceof Float32Array || target instanceof Float64Array || target instanceof DataView) {
      throw new (load('events').DOMException)('The data argument must be an integer-type TypedArray', 'TypeMismatchError');
    }
    if (target.byteLength > 65536) {
      throw new (load('events').DOMException)(`The requested length exceeds 65,536 bytes`, 'QuotaExceededError');
    }
    return randomFillSync(target);
  };

  const WEB = { 'SHA-1': 'sha1', 'SHA-256': 'sha256', 'SHA-384': 'sha384', 'SHA-512': 'sha512' };
  const subtle = Object.freeze({
    async digest(name, data) {
      const found = WEB[String(name?.name ?? name).toUpperCase()];
      if (!found) throw new (load('events').DOMException)('Unrecognized algorithm name', 'NotSupportedError');
      return createHash(found).update(data).digest().buffer;
    },
  });
  const webcrypto = Object.freeze({ randomUUID, getRandomValues, subtle });

  const module = {
    createHash, createHmac, hash, Hash, Hmac, randomUUID, randomBytes, pseudoRandomBytes: randomBytes, randomFillSync, randomInt,
    timingSafeEqual, getRandomValues, webcrypto, subtle,
    getHashes: () => Object.keys(ALGORITHMS),
    constants: Object.freeze({}),
  };
  module.default = module;
  return { module, webcrypto };
})
