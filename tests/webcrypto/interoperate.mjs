// The other side of tests/client/webcrypto.rs: JSON on stdin, JSON on stdout.

import { readFileSync } from "node:fs"
import * as npchat from "./npchat.mjs"

const { b64, unb64, utf8 } = npchat
const input = JSON.parse(readFileSync(0, "utf8"))
const openedIdentity = await npchat.openFile(input.sealed_identity, input.passphrase)
const file = JSON.parse(openedIdentity)
const own = await npchat.identity(file.name, file.auth, file.dh[0])

const opened = []
for (const envelope of input.envelopes) {
  const { A, h, content } = await npchat.open(own, unb64(envelope))
  opened.push({ from: b64(await npchat.sha256(A)), h: b64(h), content: b64(content) })
}

const sealed = []
for (const text of input.texts) {
  const content = utf8(JSON.stringify({ t: 1793000000000, to: input.to_id, p: [], text }))
  const { h, envelope } = await npchat.seal(own, unb64(input.to), content)
  sealed.push({ h: b64(h), envelope: b64(envelope) })
}

const opened1 = []
for (const envelope of input.envelopes1) {
  opened1.push(await npchat.open1(own, unb64(input.to_auth), unb64(input.to), envelope))
}

const sealed1 = []
for (const text of input.texts) {
  sealed1.push(await npchat.seal1(own, unb64(input.to), text, sealed1.length ? input.previous : undefined, 1793000000000))
}

const made = await npchat.newIdentity("zoë")
const plain = npchat.plainFile(made, input.relay, 1793000000000)
process.stdout.write(JSON.stringify({
  opened_identity: openedIdentity,
  opened,
  sealed,
  opened1,
  sealed1,
  new_identity: plain,
  new_sealed_identity: await npchat.sealFile(plain, input.passphrase),
  new_card: b64(npchat.card(made, input.relay)),
}))
