//! How much a client keeps of others, how often it asks, answers and repeats. Times in milliseconds.

use crate::client::thread::AnswerLimits;

/// Most contacts, those blocked and removed included.
pub const CONTACTS_MAX: usize = 10_000;
/// Most people that the user doesn't know and whose messages are kept. Whoever comes after them leaves nothing.
pub const REQUESTS_MAX: usize = 50;
/// Most messages that are kept of each of them.
pub const REQUEST_MESSAGES_MAX: usize = 5;
/// Most messages to one contact that wait to be posted.
pub const OUTBOX_MAX: usize = 1_000;
/// Most acknowledgements that wait to be sent to one contact.
pub const ACKS_MAX: usize = 4_096;
/// Own relays of which it is known that they offer npchat.2.
pub const RELAYS_MAX: usize = 1_000;

/// A missing message is asked for so long after it was noticed: it may be on its way.
pub const ASK_AFTER_MS: u64 = 2_000;
/// It is asked for again so long after the last time, for each time; later only when there is contact.
pub const ASK_AGAIN_MS: [u64; 3] = [60_000, 600_000, 3_600_000];
/// With contact, it is asked for no sooner than this after the last time.
pub const ASK_AT_CONTACT_MS: u64 = 3_600_000;
/// What an answer has left out is asked for so long after the last of the answer has come.
pub const ASK_AFTER_PROGRESS_MS: u64 = 2_000;
/// Most messages that one request names, fewer than an answer brings.
pub const WANT_MAX: usize = 128;
/// Most messages that one request says are there.
pub const HAVE_MAX: usize = 64;

/// What one answer has at most.
pub const ANSWER_MAX: AnswerLimits = AnswerLimits {
    messages: 200,
    bytes: 1 << 20,
};
/// A contact gets no answer sooner than this after the last one.
pub const ANSWER_PAUSE_MS: u64 = 10_000;
/// So many contents that are no messages are remembered for each contact: a relay may deliver them twice.
pub const CONTROLS_REMEMBERED: usize = 16;

/// A message is acknowledged so long after it has come, with those that come until then.
pub const ACK_AFTER_MS: u64 = 1_000;

/// An own message, if it is taken and nothing shows that it is there, is posted again so long after the last time, for
/// each time (the last one for all later times), once something has come from its recipient since.
pub const REPEAT_AFTER_MS: [u64; 3] = [60_000, 600_000, 3_600_000];
/// How often it is posted again at most.
pub const REPEATS_MAX: u8 = 16;
/// If nothing comes from its recipient, the newest is posted again when its time at the relay is over, each time after
/// twice that time, but after this if that time is shorter.
pub const REPEAT_UNHEARD_MAX_MS: u64 = 86_400_000;
/// How often it is posted again in vain before something must come.
pub const REPEATS_UNHEARD_MAX: u8 = 12;
/// An own message of v1 that the other side seems not to have is posted again after this: its answer may have crossed.
pub const INFER_AFTER_MS: u64 = 5_000;
/// Most such messages at once for one contact.
pub const INFER_MAX: usize = 64;

/// A contact that has shown no sign of having the user's changed card gets it again at a login, no sooner than this
/// after the last time.
pub const ANNOUNCE_PAUSE_MS: u64 = 86_400_000;

/// A contact that is known to speak v2 and sends v1, which isn't believed, gets an envelope v2 no sooner than this
/// after the last one.
pub const SHOW_V2_PAUSE_MS: u64 = 3_600_000;

/// A post that failed is repeated within this, doubled for each failure.
pub const RETRY_FIRST_MS: u64 = 1_000;
/// A post that failed is repeated within this at the latest, unless the relay asks for more.
pub const RETRY_MAX_MS: u64 = 60_000;
/// The longest pause that a relay may ask for.
pub const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// Contacts without a message in this time aren't asked for what has expired.
pub const RECENT_MS: u64 = 30 * 86_400_000;
/// Most contacts that are asked for what has expired, those with the latest message first.
pub const RECENT_MAX: usize = 100;

/// How long a relay is asked to keep a message, in seconds, unless the user asks for something else: a week.
pub const TTL_S: u32 = 604_800;

const _: () = assert!(WANT_MAX < ANSWER_MAX.messages);
const _: () = assert!(REPEATS_UNHEARD_MAX < REPEATS_MAX);
