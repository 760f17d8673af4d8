// Makes tests/vectors/envelope-v2.json: node tests/webcrypto/vectors.mjs > tests/vectors/envelope-v2.json
//
// Signatures and ephemeral keys are new each time, but for the first message.

import { readFileSync } from "node:fs"
import * as npchat from "./npchat.mjs"

const { b64, unb64, utf8 } = npchat
const EC = { name: "ECDH", namedCurve: "P-256" }
const v1 = JSON.parse(readFileSync(new URL("../vectors/envelope-v1.json", import.meta.url), "utf8"))
const scalar = key => ({ public: key.public, private: key.private_scalar })
const [alice, bob] = await Promise.all(
  v1.identities.map(one => npchat.identity(one.name, scalar(one.auth), scalar(one.dh))))

// The message that PROTOCOL.md has in full.
const first = {
  s: "8XfuGxGQ4OTBlZWqq4t-9IF6OW8hiY-z_HzMLdBAJW9ObjBI4ZJbyzlLBsrwBifrO2oRQj1o2KLj0uCY6-bdcA",
  skE: "AVRug4Xxq90VA8uCPWY5xo2casTLLfb-gYmU04OAcSk",
  enc: "BLyyEmjofkb3A4OuMV3zD2iJP_jEKidH81oZOGGqXOtLb_aEC5aXrQrgxtwcV9H4OIvCg4fu-EsaBxY5zjYeE5c",
}

async function ephemeral(fixed) {
  const pair = fixed ? { public: fixed.enc, private: fixed.skE } : await npchat.newPair(EC, ["deriveBits"])
  const raw = { publicKey: await crypto.subtle.importKey("raw", unb64(pair.public), EC, true, []) }
  return { skE: pair.private, keys: { ...raw, privateKey: await npchat.privateKey(pair, EC, ["deriveBits"]) } }
}

const messages = []
async function message(about, from, to, members, fixed) {
  const content = utf8(JSON.stringify({ t: 1793000000000 + messages.length, to: to.id, ...members }))
  const e = await ephemeral(fixed)
  const { h, s, envelope } = await npchat.seal(from, to.D, content, { s: fixed && unb64(fixed.s), ephemeral: e.keys })
  const text = new TextDecoder().decode(content)
  messages.push({
    about, from: from.name, to: to.name, content: text, h: b64(h), s: b64(s), skE: e.skE, envelope: b64(envelope),
  })
  return b64(h)
}

const introduction = own => ({ name: own.name, origin: "https://relay.example", dh: own.dh.public })
const one = await message("a first message", alice, bob, { p: [], text: "hello" }, first)
const two = await message("an answer with one head and a card", bob, alice,
  { p: [one], text: "ünïcödé ✓ 🚀", card: introduction(bob) })
const three = await message("a message by the same, which names its own", bob, alice, { p: [two], text: "" })
await message("two heads", alice, bob, { p: [three, one], text: "quote \" backslash \\ newline \n zero \0 space " })
await message("a file", alice, bob,
  { p: [three], file: { name: "a.bin", type: "application/octet-stream", data: b64(new Uint8Array(256).map((_, i) => i)) } })
await message("an acknowledgement", bob, alice, { ack: [one] })
await message("a request for what leads to all heads", bob, alice, { want: [], have: [one, two] })
const head = JSON.stringify({ t: 1793000000007, to: bob.id, p: [three], text: "" }).length
await message("a plaintext that needs no space", alice, bob, { p: [three], text: "x".repeat(512 - 129 - head) })
await message("one byte more", alice, bob, { p: [three], text: "x".repeat(512 - 129 - head + 1) })
await message("a kind of message that is not known, and members that are not", bob, alice,
  { p: [two], poll: { question: "?" }, later: [1, 2.5, null] })
await message("a copy that somebody sends to the own other devices", alice, alice, { p: [three], text: "sent to bob" })

const passphrase = "correct hörse battery staple"
const plain = npchat.plainFile(alice, "https://relay.example", 1793000000000)

const named = own => ({
  name: own.name, id: own.id,
  auth: { public: own.auth.public, private_scalar: own.auth.private },
  dh: { public: own.dh.public, private_scalar: own.dh.private },
})
console.log(JSON.stringify({
  about: "Envelope v2 of PROTOCOL.md, made by WebCrypto: tests/webcrypto/vectors.mjs.",
  identities: [alice, bob].map(named),
  cards: [alice, bob].map(own => ({ of: own.name, origin: "https://relay.example", card: b64(npchat.card(own, "https://relay.example")) })),
  comparing_digits: await npchat.digits(alice, bob),
  messages,
  identity_file: { of: "alice", passphrase, plain, sealed: await npchat.sealFile(plain, passphrase) },
}, null, 1))
