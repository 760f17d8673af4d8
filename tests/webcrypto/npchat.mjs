// Both envelopes and the identity file of PROTOCOL.md over WebCrypto alone: an implementation that shares nothing with the
// one in Rust.

const subtle = globalThis.crypto.subtle
const EC = { name: "ECDH", namedCurve: "P-256" }
const DSA = { name: "ECDSA", namedCurve: "P-256" }
const ES256 = { name: "ECDSA", hash: "SHA-256" }
const BLOCK = 256

export const utf8 = s => new TextEncoder().encode(s)
export const b64 = bytes => Buffer.from(bytes).toString("base64url")
export const unb64 = text => new Uint8Array(Buffer.from(text, "base64url"))
export const random = length => crypto.getRandomValues(new Uint8Array(length))
export const sha256 = async bytes => new Uint8Array(await subtle.digest("SHA-256", bytes))

export function cat(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) { out.set(p, at); at += p.length }
  return out
}

// HPKE (RFC 9180), base mode, single shot: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

const u16 = n => new Uint8Array([n >> 8, n & 255])

async function hmac(key, data) {
  // WebCrypto refuses an empty HMAC key; HMAC pads with zeros, so 32 zero bytes are the same key.
  const k = await subtle.importKey("raw", key.length ? key : new Uint8Array(32), { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
  return new Uint8Array(await subtle.sign("HMAC", k, data))
}

const extract = (suite, salt, label, ikm) => hmac(salt, cat(utf8("HPKE-v1"), suite, utf8(label), ikm))
// One block is enough: length <= 32.
const expand = async (suite, prk, label, info, length) =>
  (await hmac(prk, cat(u16(length), utf8("HPKE-v1"), suite, utf8(label), info, new Uint8Array([1])))).subarray(0, length)
const KEM = cat(utf8("KEM"), u16(0x10))

async function schedule(dh, kemContext, info) {
  const none = new Uint8Array(0)
  const prk = await extract(KEM, none, "eae_prk", dh)
  const shared = await expand(KEM, prk, "shared_secret", kemContext, 32)
  const suite = cat(utf8("HPKE"), u16(0x10), u16(1), u16(2))
  const pskHash = await extract(suite, none, "psk_id_hash", none)
  const context = cat(new Uint8Array([0]), pskHash, await extract(suite, none, "info_hash", info))
  const secret = await extract(suite, shared, "secret", none)
  const key = await expand(suite, secret, "key", context, 32)
  const nonce = await expand(suite, secret, "base_nonce", context, 12)
  return { key: await subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]), nonce }
}

const agree = async (priv, pub) => new Uint8Array(await subtle.deriveBits({ name: "ECDH", public: pub }, priv, 256))
const point = raw => subtle.importKey("raw", raw, EC, true, [])

async function hpkeSeal(pkR, info, plaintext, ephemeral) {
  const e = ephemeral ?? await subtle.generateKey(EC, false, ["deriveBits"])
  const enc = new Uint8Array(await subtle.exportKey("raw", e.publicKey))
  const { key, nonce } = await schedule(await agree(e.privateKey, await point(pkR)), cat(enc, pkR), info)
  return cat(enc, new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv: nonce }, key, plaintext)))
}

async function hpkeOpen(enc, skR, pkR, info, ciphertext) {
  const { key, nonce } = await schedule(await agree(skR, await point(enc)), cat(enc, pkR), info)
  return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv: nonce }, key, ciphertext))
}

// Keys: `{public, private}` in base64url, private the scalar.

export const privateKey = (pair, params, usages) => {
  const raw = unb64(pair.public)
  const jwk = { kty: "EC", crv: "P-256", d: pair.private, x: b64(raw.subarray(1, 33)), y: b64(raw.subarray(33)), ext: true }
  return subtle.importKey("jwk", jwk, params, true, usages)
}

export async function identity(name, auth, dh) {
  const A = unb64(auth.public)
  return {
    name, auth, dh, A, D: unb64(dh.public), id: b64(await sha256(A)),
    sign: await privateKey(auth, DSA, ["sign"]),
    open: await privateKey(dh, EC, ["deriveBits"]),
  }
}

export async function newPair(params, usages) {
  const pair = await subtle.generateKey(params, true, usages)
  const jwk = await subtle.exportKey("jwk", pair.privateKey)
  return { public: b64(new Uint8Array(await subtle.exportKey("raw", pair.publicKey))), private: jwk.d }
}

export const newIdentity = async name =>
  identity(name, await newPair(DSA, ["sign", "verify"]), await newPair(EC, ["deriveBits"]))

// Envelope v2.

const INFO = utf8("npchat/2 envelope\0")

export const messageHash = (A, content) => sha256(cat(utf8("npchat/2 message\0"), A, content))
const signed = (h, D) => cat(utf8("npchat/2 signature\0"), h, D)

// `sealed` is whom it is sealed for, `fixed` what would be random: `{s, skE}`.
export async function seal(from, D, content, fixed = {}) {
  const h = await messageHash(from.A, content)
  const s = fixed.s ?? new Uint8Array(await subtle.sign(ES256, from.sign, signed(h, D)))
  const padding = new Uint8Array((BLOCK - (129 + content.length) % BLOCK) % BLOCK).fill(0x20)
  const plaintext = cat(s, from.A, content, padding)
  return { h, s, envelope: cat(new Uint8Array([2]), await hpkeSeal(D, INFO, plaintext, fixed.ephemeral)) }
}

export async function open(own, envelope) {
  if (envelope[0] !== 2 || envelope.length < 338 || (envelope.length - 82) % BLOCK) throw new Error("no envelope")
  const plaintext = await hpkeOpen(envelope.subarray(1, 66), own.open, own.D, INFO, envelope.subarray(66))
  const [s, A] = [plaintext.subarray(0, 64), plaintext.subarray(64, 129)]
  let end = plaintext.length
  while (end > 129 && plaintext[end - 1] === 0x20) end--
  const content = plaintext.subarray(129, end)
  const h = await messageHash(A, content)
  const key = await subtle.importKey("raw", A, DSA, true, ["verify"])
  if (!await subtle.verify(ES256, key, s, signed(h, own.D))) throw new Error("signature")
  const parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content))
  if (parsed.to !== own.id && b64(await sha256(A)) !== own.id) throw new Error("recipient")
  return { A, h, content, parsed }
}

// Envelope v1.

async function key1(own, D) {
  return subtle.importKey("raw", await agree(own.open, await point(D)), "AES-GCM", false, ["encrypt", "decrypt"])
}

const hash1 = (iv, m, { t, f, p }) => sha256(cat(iv, m, utf8(JSON.stringify({ t, f, p }))))

export async function seal1(own, D, text, p, t) {
  const iv = random(32)
  const m = new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv }, await key1(own, D), utf8(text)))
  const h = await hash1(iv, m, { t, f: own.id, p })
  const s = new Uint8Array(await subtle.sign(ES256, own.sign, h))
  return JSON.stringify({ t, iv: b64(iv), m: b64(m), f: own.id, h: b64(h), p, s: b64(s) })
}

export async function open1(own, A, D, envelope) {
  const { t, iv, m, f, h, p, s } = JSON.parse(envelope)
  const hash = await hash1(unb64(iv), unb64(m), { t, f, p })
  if (b64(hash) !== h || b64(await sha256(A)) !== f) throw new Error("hash")
  const key = await subtle.importKey("raw", A, DSA, true, ["verify"])
  if (!await subtle.verify(ES256, key, unb64(s), hash)) throw new Error("signature")
  const text = await subtle.decrypt({ name: "AES-GCM", iv: unb64(iv) }, await key1(own, D), unb64(m))
  return { h, p, text: new TextDecoder().decode(text) }
}

// Cards and comparing digits.

export const card = (own, origin) =>
  cat(new Uint8Array([2]), own.A, own.D, new Uint8Array([utf8(origin).length]), utf8(origin), utf8(own.name))

export async function digits(one, other) {
  const sides = [cat(one.A, one.D), cat(other.A, other.D)].sort(Buffer.compare)
  const hash = await sha256(cat(utf8("npchat/2 compare\0"), ...sides))
  const groups = []
  for (let at = 0; at < 30; at += 5) {
    const number = hash.subarray(at, at + 5).reduce((n, byte) => n * 256n + BigInt(byte), 0n)
    groups.push(String(number % 100000n).padStart(5, "0"))
  }
  return groups.join(" ")
}

// The identity file.

const LABEL = utf8("npchat/2 identity\0")

async function fileKey(passphrase, salt, iterations) {
  const base = await subtle.importKey("raw", utf8(passphrase), "PBKDF2", false, ["deriveKey"])
  const params = { name: "PBKDF2", hash: "SHA-256", salt, iterations }
  return subtle.deriveKey(params, base, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"])
}

export const plainFile = (own, relay, since) => JSON.stringify({
  npchat: "identity", version: 1, name: own.name, relay, auth: own.auth, dh: [{ ...own.dh, since }],
})

export async function sealFile(plain, passphrase) {
  const [salt, iv, iterations] = [random(16), random(12), 600000]
  const key = await fileKey(passphrase, salt, iterations)
  const sealed = await subtle.encrypt({ name: "AES-GCM", iv, additionalData: LABEL }, key, utf8(plain))
  return JSON.stringify({
    npchat: "identity", version: 1, kdf: "PBKDF2-HMAC-SHA256", iterations,
    salt: b64(salt), iv: b64(iv), sealed: b64(new Uint8Array(sealed)),
  })
}

export async function openFile(text, passphrase) {
  const file = JSON.parse(text)
  const key = await fileKey(passphrase, unb64(file.salt), file.iterations)
  const params = { name: "AES-GCM", iv: unb64(file.iv), additionalData: LABEL }
  return new TextDecoder().decode(await subtle.decrypt(params, key, unb64(file.sealed)))
}
